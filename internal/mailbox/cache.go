package mailbox

// loadCache begins with what a former process knew.
func (f *Folder) loadCache() {}

// saveCache keeps what is known for the next process.
func (f *Folder) saveCache() {}
