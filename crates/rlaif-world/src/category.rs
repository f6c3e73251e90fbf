//! The eleven kinds of questions, after the categories of Video-MME.

use std::fmt;

/// What a question tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// When something happens.
    TemporalPerception,
    /// Where something is.
    SpatialPerception,
    /// What something looks like.
    AttributePerception,
    /// What something does.
    ActionRecognition,
    /// What something is.
    ObjectRecognition,
    /// How many there are.
    Counting,
    /// What comes before and after.
    TemporalReasoning,
    /// How things lie to one another.
    SpatialReasoning,
    /// Why something happens, and what comes of it.
    ActionReasoning,
    /// How things compare.
    ObjectReasoning,
    /// What it is all about.
    InformationSynopsis,
}

impl Category {
    /// All categories, in the order in which a clip's questions stand.
    pub const ALL: [Category; 11] = [
        Category::TemporalPerception,
        Category::SpatialPerception,
        Category::AttributePerception,
        Category::ActionRecognition,
        Category::ObjectRecognition,
        Category::Counting,
        Category::TemporalReasoning,
        Category::SpatialReasoning,
        Category::ActionReasoning,
        Category::ObjectReasoning,
        Category::InformationSynopsis,
    ];

    /// The name in rows and reports: `temporal_perception`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Category::TemporalPerception => "temporal_perception",
            Category::SpatialPerception => "spatial_perception",
            Category::AttributePerception => "attribute_perception",
            Category::ActionRecognition => "action_recognition",
            Category::ObjectRecognition => "object_recognition",
            Category::Counting => "counting",
            Category::TemporalReasoning => "temporal_reasoning",
            Category::SpatialReasoning => "spatial_reasoning",
            Category::ActionReasoning => "action_reasoning",
            Category::ObjectReasoning => "object_reasoning",
            Category::InformationSynopsis => "information_synopsis",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
