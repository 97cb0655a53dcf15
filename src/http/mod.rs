#[derive(Debug, Clone)]
pub struct Transport;
