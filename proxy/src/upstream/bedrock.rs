//! Amazon Bedrock.

pub mod adapter;
pub mod complaint;
pub mod feature;
pub mod lessons;
pub mod members;
pub mod model;
pub mod shape;
pub mod signature;
