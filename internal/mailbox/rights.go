package mailbox

import "strings"

// Rights are the rights of RFC 4314 §2.1 on a folder.
type Rights uint16

// The rights, in the order in which they are written: l r s w i p k x t e a.
const (
	RightLookup  Rights = 1 << iota // l: it is listed
	RightRead                       // r: SELECT, STATUS
	RightSeen                       // s: set and clear \Seen
	RightWrite                      // w: set and clear other flags
	RightInsert                     // i: put messages in
	RightPost                       // p: not enforced by IMAP
	RightCreate                     // k: make folders below it
	RightRemove                     // x: delete or rename it
	RightDelete                     // t: set and clear \Deleted
	RightExpunge                    // e: expunge
	RightAdmin                      // a: read and change the access control list
	rightsEnd
	AllRights = rightsEnd - 1
)

// rightLetters are the letters of the rights.
const rightLetters = "lrswipkxtea"

// ownersRights are those that an owner cannot lose: who may neither see nor
// change the list could not mend it.
const ownersRights = RightLookup | RightAdmin

// The virtual rights: each stands for its members
// (RFC 4314 §2.1.1).
const (
	virtualCreate = RightCreate | RightRemove  // c
	virtualDelete = RightDelete | RightExpunge // d
)

// rightOf returns what a letter stands for, 0 for none.
func rightOf(letter byte) Rights {
	switch letter {
	case 'c':
		return virtualCreate
	case 'd':
		return virtualDelete
	}
	if i := strings.IndexByte(rightLetters, letter); i >= 0 {
		return 1 << i
	}
	return 0
}

// ParseRights reads letters; ok is false when one of them is no right.
func ParseRights(letters string) (r Rights, ok bool) {
	for i := range len(letters) {
		one := rightOf(letters[i])
		if one == 0 {
			return 0, false
		}
		r |= one
	}
	return r, true
}

// Has reports whether all of the rights are there.
func (r Rights) Has(all Rights) bool { return r&all == all }

// String returns the letters.
func (r Rights) String() string {
	b := make([]byte, 0, len(rightLetters))
	for i := range len(rightLetters) {
		if r&(1<<i) != 0 {
			b = append(b, rightLetters[i])
		}
	}
	return string(b)
}

// Wire returns the letters with the virtual rights, as a server sends them
// (RFC 4314 §2.1.1).
func (r Rights) Wire() string {
	s := r.String()
	if r&virtualCreate != 0 {
		s += "c"
	}
	if r&virtualDelete != 0 {
		s += "d"
	}
	return s
}

// Settable returns the system flags that one with these rights may set and
// clear, and whether also keywords (RFC 4314 §4).
func (r Rights) Settable() (flags Flags, keywords bool) {
	if r&RightSeen != 0 {
		flags |= Seen
	}
	if r&RightDelete != 0 {
		flags |= Deleted
	}
	if r&RightWrite != 0 {
		flags |= Draft | Flagged | Passed | Answered
	}
	return flags, r&RightWrite != 0
}
