//! How bytes travel between two holders of keys: TLS 1.3 with raw public keys, bounded HTTP/1.1.
//!
//! Floor 5. One server ([`serve_until_signal`], [`serve_in_background`]) around a [`Handler`], and one client ([`Connection`]). A node reaches
//! its regions and custodians through the same few lines, and what bounds one server bounds all.
//!
//! Invariants: both ends prove an Ed25519 key in every handshake, and no session is ever resumed;
//! the client sends nothing to a key other than the pinned one; the server does nothing without
//! an end: connections, in all and of each key, strangers, bodies, handshakes, idle peers and peers
//! that do not read are all bounded, and no key takes what is there for all. Both ends can name the connection by its [`ChannelBinding`], so that a proof made
//! for one connection is worth nothing on another.
//!
//! It must not know: what a fleet is, who may ask for what, what a request means.

mod body;
mod client;
mod places;
pub mod raw_key;
mod reply;
mod server;
mod stall;
mod tls;

pub use body::{BodyError, Room};
pub use client::{Answer, Connection, LinkError, Message, Patience, Proof};
pub use reply::{ErrorBody, JSON, OCTETS, Reply, TEXT};
pub use server::{
    Background, Handler, ServeError, Session, serve_in_background, serve_until_signal,
};
pub use tls::ChannelBinding;
