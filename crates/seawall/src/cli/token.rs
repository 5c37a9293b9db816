//! Flags of commands that may need a token.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{CustodianCommand, GroupCommand};

/// How to reach a token.
#[derive(Debug, Clone, Args)]
pub(crate) struct TokenArgs {
    /// The PKCS#11 module of the token that wraps the shares, by its whole path
    #[arg(long, global = true, value_name = "FILE", env = "SEAWALL_PKCS11_MODULE")]
    pub(crate) module: Option<PathBuf>,
    /// File with the token's PIN that only its owner may read [default: `SEAWALL_TOKEN_PIN`, or it
    /// is asked for]
    #[arg(long, global = true, value_name = "FILE", env = "SEAWALL_TOKEN_PIN_FILE")]
    pub(crate) pin_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CustodianArgs {
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    #[command(subcommand)]
    pub(crate) command: CustodianCommand,
}

#[derive(Debug, Args)]
pub(crate) struct GroupArgs {
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    #[command(subcommand)]
    pub(crate) command: GroupCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Have a token wrap the shares and secret keys of this home, and all shares to come
    #[command(
        after_help = "Example: seawall --home ~/custodian custodian wrap --module /usr/lib/softhsm/libsofthsm2.so --token-label anna"
    )]
    Wrap {
        /// The token's label; a key is made in it unless this home has one there
        #[arg(long, value_name = "LABEL")]
        token_label: String,
    },
    /// Show the token that wraps this home's shares, and try whether it unwraps each of them
    #[command(
        after_help = "Example: seawall --home ~/custodian custodian token --module /usr/lib/softhsm/libsofthsm2.so"
    )]
    Token,
}
