package imapd

import "github.com/emersion/go-imap/v2"

// errUIDRequired refuses message numbers of a client that wants to use none
// (RFC 9586 §3).
var errUIDRequired = &imap.Error{Type: imap.StatusResponseTypeBad, Code: "UIDREQUIRED", Text: "please use UIDs: this session has no message numbers"}

// hasNumbers reports whether a command is about message numbers: whether
// there is one of the same name about UIDs.
func hasNumbers(name string) bool {
	if name == "EXPUNGE" {
		return false
	}
	_, twin := find("UID " + name)
	return twin
}
