//! The command line.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::corpus::{Kind, Scale};
use crate::tools::Name;

pub(crate) const HELP: &str = "\
Measures seawall and its peers on corpora it makes itself.

Usage: seawall-bench [OPTIONS]
       seawall-bench --render FILE [--update-docs]

      --quick            small corpora, one repetition: tries the harness, measures nothing
      --corpus A,B       os-tree, disk-image, media, tiny, postgres [default: all]
      --tool A,B         seawall, restic, rustic, borg, bupstash, vykar [default: those found]
      --repetitions N    [default: 3]
      --percent N        size of the corpora; the goals are about 100 [default: 100]
      --seed N           [default: 1]
      --make             makes the corpora and measures nothing
      --dir DIR          corpora, repositories, restored trees; about 15 GiB [default: target/bench]
      --bench-tools DIR  where the peers are installed [default: target/bench-tools]
      --seawall FILE     [default: target/release/seawall]
      --json FILE        writes everything that was measured, after each corpus
      --render FILE      prints the tables of such a file and measures nothing
      --update-docs      puts the tables into docs/benchmarks.md
  -h, --help

Example: seawall-bench --quick --corpus os-tree,tiny --tool seawall,restic
";

/// What to do.
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) corpora: Vec<Kind>,
    pub(crate) tools: Vec<Name>,
    pub(crate) repetitions: u32,
    pub(crate) scale: Scale,
    pub(crate) seed: u64,
    pub(crate) scratch: PathBuf,
    pub(crate) bench_tools: PathBuf,
    pub(crate) seawall: PathBuf,
    pub(crate) json: Option<PathBuf>,
    pub(crate) render: Option<PathBuf>,
    pub(crate) update_docs: bool,
    pub(crate) make: bool,
    pub(crate) help: bool,
    /// The command line again, as the tables show it.
    pub(crate) command: String,
}

impl Options {
    pub(crate) fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self {
            corpora: Kind::ALL.to_vec(),
            tools: Name::ALL.to_vec(),
            repetitions: 3,
            scale: Scale::FULL,
            seed: 1,
            scratch: "target/bench".into(),
            bench_tools: "target/bench-tools".into(),
            seawall: "target/release/seawall".into(),
            json: None,
            render: None,
            update_docs: false,
            make: false,
            help: false,
            command: format!("just bench-peers {}", words.join(" ")).trim().to_owned(),
        };
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word {
                "--quick" => (options.scale, options.repetitions) = (Scale(2), 1),
                "--corpus" => options.corpora = list(value()?, Kind::named)?,
                "--tool" => options.tools = list(value()?, Name::named)?,
                "--repetitions" => options.repetitions = value()?.parse()?,
                "--percent" => options.scale = Scale(value()?.parse()?),
                "--seed" => options.seed = value()?.parse()?,
                "--dir" => options.scratch = value()?.into(),
                "--bench-tools" => options.bench_tools = value()?.into(),
                "--seawall" => options.seawall = value()?.into(),
                "--json" => options.json = Some(value()?.into()),
                "--render" => options.render = Some(value()?.into()),
                "--update-docs" => options.update_docs = true,
                "--make" => options.make = true,
                "-h" | "--help" => options.help = true,
                _ => bail!("unknown option {word}; --help lists them"),
            }
        }
        ensure!(options.repetitions > 0, "--repetitions must be at least 1");
        ensure!((1..=10_000).contains(&options.scale.0), "--percent must be 1 to 10000");
        Ok(options)
    }
}

fn list<T>(words: &str, known: impl Fn(&str) -> Option<T>) -> Result<Vec<T>> {
    words.split(',').map(|name| known(name).with_context(|| format!("no {name} here"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn lists_and_numbers_are_read() {
        let options = parse("--quick --corpus tiny,media --tool borg --seed 7").expect("parsed");
        assert_eq!(options.corpora, [Kind::Tiny, Kind::Media]);
        assert_eq!(options.tools, [Name::Borg]);
        assert_eq!((options.seed, options.repetitions), (7, 1));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in ["--corpus moon", "--tool", "--repetitions 0", "--percent 0", "--fast"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
