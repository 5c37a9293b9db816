//! What a command prints, read as it prints it.
//!
//! The end of the output is an end only if the command then ends with success: a dump that broke
//! off must not look like a dump.

use std::ffi::OsString;
use std::io::{self, Read};
use std::process::{ChildStdout, Command, Stdio};

use crate::hooks::{CommandError, Commands, Running, Tail};

/// How a command was given.
#[derive(Debug, Clone)]
pub enum CommandLine {
    /// A line for `sh -c`.
    Shell(OsString),
    /// A program and its arguments, at least the program.
    Words(Vec<OsString>),
}

impl CommandLine {
    fn command(&self) -> Command {
        match self {
            Self::Shell(line) => {
                let mut command = Command::new("sh");
                command.arg("-c").arg(line);
                command
            }
            Self::Words(words) => {
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]);
                command
            }
        }
    }

    /// As it was given, for messages.
    pub fn shown(&self) -> OsString {
        match self {
            Self::Shell(line) => line.clone(),
            Self::Words(words) => words.join(std::ffi::OsStr::new(" ")),
        }
    }
}

const WHAT: &str = "command";

/// The output of a running command. Dropped before its end, the command is ended.
pub(crate) struct CommandOutput {
    line: CommandLine,
    output: ChildStdout,
    /// None once the command has ended.
    running: Option<(Running, Tail)>,
}

impl CommandOutput {
    /// Starts `line`.
    pub(crate) fn start(line: &CommandLine, commands: &Commands) -> Result<Self, CommandError> {
        let mut command = line.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = commands.start(&mut command);
        let mut running = started.map_err(|source| CommandError::Start {
            what: WHAT,
            command: line.shown(),
            source,
        })?;
        let output = running.child.stdout.take().expect("it was piped");
        let words = running.child.stderr.take().expect("it was piped");
        let tail = Tail::of(WHAT, vec![Box::new(words)]);
        Ok(Self { line: line.clone(), output, running: Some((running, tail)) })
    }
}

impl Read for CommandOutput {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.output.read(buf)?;
        if n > 0 || buf.is_empty() {
            return Ok(n);
        }
        let Some((mut running, tail)) = self.running.take() else { return Ok(0) };
        let status = running.wait()?;
        if status.success() {
            return Ok(0);
        }
        let (what, command, said) = (WHAT, self.line.shown(), tail.said());
        Err(io::Error::other(CommandError::Failed { what, command, status, said }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &CommandLine) -> (Vec<u8>, io::Result<usize>) {
        let mut out = Vec::new();
        let mut output = CommandOutput::start(line, &Commands::default()).expect("it starts");
        let read = output.read_to_end(&mut out);
        (out, read)
    }

    #[test]
    fn output_ends_well_only_if_the_command_does() {
        let (out, read_to_end) = read(&CommandLine::Shell("printf abc; printf err >&2".into()));
        assert_eq!((&out[..], read_to_end.expect("success")), (&b"abc"[..], 3));
        let (out, failed) =
            read(&CommandLine::Shell("printf abc; echo lost it >&2; exit 3".into()));
        let words = failed.expect_err("3").to_string();
        assert_eq!(out, b"abc");
        assert!(words.contains("exit status: 3") && words.contains("lost it"), "{words}");
        let (_, failed) = read(&CommandLine::Shell("printf abc; kill -TERM $$".into()));
        assert!(failed.expect_err("killed").to_string().contains("SIGTERM"));
    }

    #[test]
    fn words_are_not_given_to_a_shell() {
        let words = ["printf", "%s|", "a b", "$HOME;"].map(OsString::from).to_vec();
        assert_eq!(read(&CommandLine::Words(words)).0, b"a b|$HOME;|");
        let none = CommandLine::Words(vec!["/no/such/program".into()]);
        let e = CommandOutput::start(&none, &Commands::default()).err().expect("refused");
        assert!(e.to_string().contains("cannot be started"), "{e}");
    }

    #[test]
    fn a_command_that_is_not_read_to_its_end_is_ended() {
        let line = CommandLine::Shell("yes".into());
        let mut output = CommandOutput::start(&line, &Commands::default()).expect("it starts");
        output.read_exact(&mut [0; 10]).expect("it prints");
        let id = output.running.as_ref().expect("running").0.child.id();
        drop(output);
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    }
}
