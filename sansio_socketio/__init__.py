"""A Socket.IO client whose behaviour is one pure state machine; a driver package for each runtime stands beside it."""
