//! The server over real sockets: its endpoints, and the rows of the fault matrix that clients cause. Numbers are rows
//! of docs/architecture/faults.md.

mod client;
mod clients;
mod device;
mod endpoints;
mod floods;
mod prompts;
mod server;
mod streams;
