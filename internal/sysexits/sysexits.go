// Package sysexits holds the exit statuses of sysexits(3), the language in
// which mail programs tell their caller what became of a message.
package sysexits

// The statuses that Peyk's programs exit with; peyk.7 lists them for users.
const (
	OK          = 0  // success
	Usage       = 64 // the command line is wrong
	DataErr     = 65 // the input data is wrong
	NoInput     = 66 // an input file is missing or unreadable
	NoUser      = 67 // the addressee does not exist
	NoHost      = 68 // the host does not exist
	Unavailable = 69 // a service is unavailable, for good
	Software    = 70 // an internal error: a defect of the program
	OSErr       = 71 // the operating system refused (fork, pipe)
	OSFile      = 72 // a system file is missing or broken
	CantCreat   = 73 // an output file cannot be created
	IOErr       = 74 // reading or writing failed
	TempFail    = 75 // temporary: keep the message and try again
	Protocol    = 76 // the other side broke the protocol
	NoPerm      = 77 // permission denied
	Config      = 78 // the configuration is wrong
)
