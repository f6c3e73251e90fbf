//! Facts that words state: the least that can be right or wrong about a scene.

use crate::{Color, Direction, Encounter, Object, Phase, Shape};

/// One thing said about a scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fact {
    Color(Color),
    Shape(Shape),
    /// A motion without its direction.
    Does(Deed),
    /// A direction, a side, or a part of the frame.
    Side(Direction),
    Center,
    Number(usize),
    When(Phase),
    Never,
    Meet(Encounter),
}

/// A motion without its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Deed {
    Moves,
    Stays,
    Grows,
    Shrinks,
    Appears,
    Vanishes,
    Changes,
}

impl Fact {
    /// Whether both answer the same kind of question, so that one rules out the other.
    pub(crate) fn is_of_kind(self, other: Fact) -> bool {
        self.kind() == other.kind()
    }

    fn kind(self) -> u8 {
        match self {
            Fact::Color(_) => 0,
            Fact::Shape(_) => 1,
            Fact::Does(_) | Fact::Meet(_) => 2,
            Fact::Side(_) | Fact::Center => 3,
            Fact::Number(_) => 4,
            Fact::When(_) | Fact::Never => 5,
        }
    }
}

impl Object {
    /// What is true of the object by itself.
    pub(crate) fn facts(&self) -> Vec<Fact> {
        let mut facts = vec![Fact::Color(self.color), Fact::Shape(self.shape)];
        if self.color_after != self.color {
            facts.push(Fact::Color(self.color_after));
        }
        facts.extend(facts_of(self.motion.words()));
        facts.extend(self.event.map(|event| Fact::When(event.phase)));
        facts
    }
}

/// What one word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Fact(Fact),
    /// Turns the fact that follows around.
    Not,
    /// Begins another statement.
    Joint,
    /// A word of grammar that says nothing by itself.
    Filler,
    /// A word that no answer needs.
    Unknown,
}

/// Reads one lower-case word without punctuation.
pub(crate) fn meaning(word: &str) -> Meaning {
    use {Deed as D, Direction as Di, Encounter as E};
    if let Some(color) = Color::ALL.iter().find(|color| color.word() == word) {
        return Meaning::Fact(Fact::Color(*color));
    }
    if let Some(shape) = Shape::ALL.iter().find(|shape| shape.word() == word) {
        return Meaning::Fact(Fact::Shape(*shape));
    }
    Meaning::Fact(match word {
        "moves" | "move" | "moving" | "goes" => Fact::Does(D::Moves),
        "stays" | "stay" | "still" => Fact::Does(D::Stays),
        "grows" | "grow" | "growing" => Fact::Does(D::Grows),
        "shrinks" | "shrink" | "shrinking" => Fact::Does(D::Shrinks),
        "appears" | "appear" => Fact::Does(D::Appears),
        "vanishes" | "vanish" => Fact::Does(D::Vanishes),
        "changes" | "change" => Fact::Does(D::Changes),
        "left" => Fact::Side(Di::Left),
        "right" => Fact::Side(Di::Right),
        "up" | "top" | "above" => Fact::Side(Di::Up),
        "down" | "bottom" | "below" => Fact::Side(Di::Down),
        "center" | "middle" => Fact::Center,
        "zero" | "none" | "0" => Fact::Number(0),
        "one" | "1" => Fact::Number(1),
        "two" | "2" => Fact::Number(2),
        "three" | "3" => Fact::Number(3),
        "four" | "4" => Fact::Number(4),
        "early" => Fact::When(Phase::Early),
        "midway" => Fact::When(Phase::Midway),
        "late" => Fact::When(Phase::Late),
        "never" => Fact::Never,
        "collide" | "hits" | "hit" => Fact::Meet(E::Collide),
        "pass" | "passes" => Fact::Meet(E::Pass),
        "separate" => Fact::Meet(E::Separate),
        "follow" | "follows" => Fact::Meet(E::Follow),
        "not" | "no" => return Meaning::Not,
        "and" | "then" | "while" => return Meaning::Joint,
        "the" | "a" | "an" | "it" | "they" | "is" | "are" | "there" | "at" | "in" | "on" | "of"
        | "to" | "color" | "object" | "objects" | "shape" | "start" | "end" => {
            return Meaning::Filler;
        }
        _ => return Meaning::Unknown,
    })
}

/// The words of a text in lower case, without the punctuation around them.
pub(crate) fn words_of(text: &str) -> Vec<String> {
    text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '.' | ';' | ':' | '!' | '?'))
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase())
        .filter(|word| !word.is_empty())
        .collect()
}

/// The facts that a text states, each once.
pub(crate) fn facts_of(text: &str) -> Vec<Fact> {
    let mut facts = Vec::new();
    for word in words_of(text) {
        if let Meaning::Fact(fact) = meaning(&word)
            && !facts.contains(&fact)
        {
            facts.push(fact);
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Motion, WorldConfig};

    #[test]
    fn words_state_facts() {
        assert_eq!(
            facts_of("The red circle, moves LEFT."),
            [
                Fact::Color(Color::Red),
                Fact::Shape(Shape::Circle),
                Fact::Does(Deed::Moves),
                Fact::Side(Direction::Left),
            ]
        );
        assert_eq!(facts_of("stays still"), [Fact::Does(Deed::Stays)]);
        assert_eq!(facts_of("top left"), [Fact::Side(Direction::Up), Fact::Side(Direction::Left)]);
        assert!(facts_of("").is_empty() && facts_of("the ?").is_empty());
        assert_eq!(words_of("(a) it's \"red\"!"), ["a", "it's", "red"]);
    }

    #[test]
    fn every_word_of_every_kind_is_read() {
        for object in crate::scene(&WorldConfig::default(), crate::Split::Train, 1).objects {
            assert!(object.facts().len() >= 3);
        }
        for motion in Motion::ALL {
            let n = 1 + usize::from(motion.direction().is_some());
            assert_eq!(facts_of(motion.words()).len(), n, "{motion:?}");
        }
        for encounter in Encounter::ALL {
            assert_eq!(facts_of(encounter.word()), [Fact::Meet(*encounter)]);
        }
    }
}
