//! How the settings are written: a name, or a table with `type`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::{ProtocolConfig, Schedule};

/// The table form of [`ProtocolConfig`].
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Table {
    Listwise {},
    Pairwise {
        #[serde(default)]
        schedule: Schedule,
        #[serde(default = "yes")]
        both_orders: bool,
    },
    Pointwise {
        #[serde(default = "one")]
        min: i64,
        #[serde(default = "ten")]
        max: i64,
    },
    Sliding {
        #[serde(default = "twenty")]
        window: usize,
        #[serde(default = "ten")]
        stride: usize,
        #[serde(default = "one")]
        passes: u32,
    },
}

fn yes() -> bool {
    true
}

fn one<T: From<u8>>() -> T {
    T::from(1)
}

fn ten<T: From<u8>>() -> T {
    T::from(10)
}

fn twenty() -> usize {
    20
}

impl From<ProtocolConfig> for Table {
    fn from(config: ProtocolConfig) -> Self {
        match config {
            ProtocolConfig::Listwise => Table::Listwise {},
            ProtocolConfig::Pairwise { schedule, both_orders } => {
                Table::Pairwise { schedule, both_orders }
            }
            ProtocolConfig::Pointwise { min, max } => Table::Pointwise { min, max },
            ProtocolConfig::Sliding { window, stride, passes } => {
                Table::Sliding { window, stride, passes }
            }
        }
    }
}

impl From<Table> for ProtocolConfig {
    fn from(table: Table) -> Self {
        match table {
            Table::Listwise {} => ProtocolConfig::Listwise,
            Table::Pairwise { schedule, both_orders } => {
                ProtocolConfig::Pairwise { schedule, both_orders }
            }
            Table::Pointwise { min, max } => ProtocolConfig::Pointwise { min, max },
            Table::Sliding { window, stride, passes } => {
                ProtocolConfig::Sliding { window, stride, passes }
            }
        }
    }
}

/// The table form of [`Schedule`].
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum ScheduleTable {
    All {},
    Network {},
    Tournament { budget: usize },
}

impl From<Schedule> for ScheduleTable {
    fn from(schedule: Schedule) -> Self {
        match schedule {
            Schedule::All => ScheduleTable::All {},
            Schedule::Network => ScheduleTable::Network {},
            Schedule::Tournament { budget } => ScheduleTable::Tournament { budget },
        }
    }
}

impl From<ScheduleTable> for Schedule {
    fn from(table: ScheduleTable) -> Self {
        match table {
            ScheduleTable::All {} => Schedule::All,
            ScheduleTable::Network {} => Schedule::Network,
            ScheduleTable::Tournament { budget } => Schedule::Tournament { budget },
        }
    }
}

impl<'de> Deserialize<'de> for ProtocolConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        name_or_table::<D, Table>(deserializer, "the name of a protocol, or a table with `type`")
            .map(Into::into)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "the name of a schedule, or a table with `type`";
        name_or_table::<D, ScheduleTable>(deserializer, expected).map(Into::into)
    }
}

/// Reads `"name"` as `{ type = "name" }`, and a table as it stands.
fn name_or_table<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
    expected: &'static str,
) -> Result<T, D::Error> {
    struct Either<T>(&'static str, std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Either<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, name: &str) -> Result<T, E> {
            let pair = std::iter::once(("type", name));
            T::deserialize(de::value::MapDeserializer::new(pair))
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(de::value::MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_any(Either(expected, std::marker::PhantomData))
}
