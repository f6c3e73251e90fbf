//! Loading and rendering templates: bounded, strict, and with errors that name file and line.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
};

use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior};
use serde::Serialize;

use super::PromptsConfig;
use crate::ConfigError;

/// Longest template, in bytes.
const LONGEST_TEMPLATE: u64 = 256 << 10;
/// Longest prompt that a template may make, in bytes.
const LONGEST_PROMPT: usize = 16 << 20;
/// Steps that a template may take.
const FUEL: u64 = 200_000;
/// What every template may use.
const COMMON: [&str; 4] = ["kind", "count", "min", "max"];
/// What a question may use beside the criteria.
const OF_QUESTIONS: [&str; 6] =
    ["question", "conversation", "choices", "reference", "narrative", "candidates"];
/// Functions of the language, which are looked up like variables.
const FUNCTIONS: [&str; 3] = ["range", "dict", "namespace"];

/// A template with where it comes from.
pub(super) struct Source {
    pub(super) name: &'static str,
    pub(super) text: String,
}

/// Every template that `config` asks for.
pub(super) fn sources(config: &PromptsConfig) -> Result<Vec<Source>, ConfigError> {
    let templates = [
        ("system", &config.system, include_str!("system.j2")),
        ("listwise", &config.listwise, include_str!("listwise.j2")),
        ("pairwise", &config.pairwise, include_str!("pairwise.j2")),
        ("pointwise", &config.pointwise, include_str!("pointwise.j2")),
        ("repair", &config.repair, include_str!("repair.j2")),
    ];
    let source = |(name, path, built_in): (&'static str, &Option<PathBuf>, &str)| {
        let text = match path {
            None => built_in.to_owned(),
            Some(path) => read(path).map_err(|why| wrong(config, name, None, why))?,
        };
        Ok(Source { name, text })
    };
    templates.into_iter().map(source).collect()
}

fn read(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    if !file.metadata().map_err(|error| error.to_string())?.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(LONGEST_TEMPLATE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LONGEST_TEMPLATE {
        return Err(format!("it has more than {LONGEST_TEMPLATE} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

/// The templates ready to be rendered.
pub(super) fn environment(
    config: &PromptsConfig,
    sources: &[Source],
) -> Result<Environment<'static>, ConfigError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(FUEL));
    for Source { name, text } in sources {
        environment
            .add_template_owned(*name, text.clone())
            .map_err(|error| wrong(config, name, error.line(), reason(&error)))?;
        known_variables(config, &environment, name, text)?;
    }
    Ok(environment)
}

/// Refuses variables that nothing will ever set.
fn known_variables(
    config: &PromptsConfig,
    environment: &Environment<'_>,
    name: &'static str,
    text: &str,
) -> Result<(), ConfigError> {
    let mut known: BTreeSet<&str> = COMMON.into_iter().chain(FUNCTIONS).collect();
    match name {
        "system" => known.extend(["criteria"]),
        "repair" => known.extend(["problem"]),
        _ => known.extend(OF_QUESTIONS.into_iter().chain(["criteria"])),
    }
    let template = environment
        .get_template(name)
        .map_err(|error| wrong(config, name, error.line(), reason(&error)))?;
    let used: BTreeSet<String> = template.undeclared_variables(false).into_iter().collect();
    let Some(unknown) = used.iter().find(|variable| !known.contains(variable.as_str())) else {
        return Ok(());
    };
    let line = text.lines().position(|line| mentions(line, unknown)).map(|at| at + 1);
    let functions = |variable: &&&str| !FUNCTIONS.contains(*variable);
    let known: Vec<&str> = known.iter().filter(functions).copied().collect();
    let why = format!("there is no variable `{unknown}`, here are {}", known.join(", "));
    Err(wrong(config, name, line, why))
}

fn mentions(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

/// The prompt that template `name` makes of `variables`.
pub(super) fn render(
    environment: &Environment<'_>,
    name: &str,
    variables: impl Serialize,
) -> Result<String, Error> {
    let mut bounded = Bounded(Vec::new());
    environment.get_template(name)?.render_captured_to(variables, &mut bounded)?;
    // A template writes nothing but text.
    Ok(String::from_utf8_lossy(&bounded.0).trim().to_owned())
}

/// What went wrong, without the place.
pub(super) fn reason(error: &Error) -> String {
    let detail = error.detail().map_or(String::new(), |detail| format!(", {detail}"));
    format!("{}{detail}", error.kind())
}

/// An error about template `name`, with the file it comes from.
pub(super) fn wrong(
    config: &PromptsConfig,
    name: &'static str,
    line: Option<usize>,
    why: String,
) -> ConfigError {
    let path = match name {
        "system" => &config.system,
        "listwise" => &config.listwise,
        "pairwise" => &config.pairwise,
        "pointwise" => &config.pointwise,
        _ => &config.repair,
    };
    ConfigError::Prompt { prompt: name, path: path.clone(), line, why }
}

struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LONGEST_PROMPT {
            return Err(io::Error::other(format!("it makes more than {LONGEST_PROMPT} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
