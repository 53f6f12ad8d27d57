//! The translation to and from Converse, through the SDK that the proxy uses: what
//! it puts on the wire, and what it makes of what comes back.

#![cfg(test)]

mod golden;
mod properties;
mod wire;
