package mailbox

import (
	"slices"
	"strings"
)

// aclName is Dovecot's file in the directory of a folder that says who else
// may do what with it, a line for each identifier:
//
//	owner lrswipkxtea
//	user=bob@example.org lrs
//	-user=eve@example.org r
//	"group=the lot" l :post
//
// After the letters may stand named rights behind a colon.
const aclName = "dovecot-acl"

// maxACL bounds the file; maxACLEntries bounds what SETACL may add.
const (
	maxACL        = 256 << 10
	maxACLEntries = 1000
)

// An ACL is an access control list.
type ACL struct {
	exists bool // the file is there: without one only the owner has rights
	lines  []aclLine
}

// aclLine is one line. One that we cannot read is kept as it is.
type aclLine struct {
	raw   string
	entry ACLEntry
	ok    bool // entry can be used
}

// An ACLEntry gives rights to an identifier, or takes them from it.
type ACLEntry struct {
	ID       string // anyone, authenticated, owner, user=NAME, group=NAME, group-override=NAME
	Negative bool
	Rights   Rights
}

// Who is asking for rights.
type Who struct {
	User   string
	Groups []string
	Owner  bool
}

// class orders identifiers: what a higher class says replaces what a lower
// one says, as in Dovecot. 0 is no identifier.
func class(id string) int {
	switch id {
	case "anyone", "anonymous":
		return 1
	case "authenticated":
		return 2
	case "owner":
		return ownerClass
	}
	kind, name, _ := strings.Cut(id, "=")
	if name == "" {
		return 0
	}
	switch kind {
	case "group":
		return 3
	case "user":
		return 5
	case "group-override":
		return 6
	}
	return 0
}

const (
	ownerClass = 4
	lastClass  = 6
)

// matches reports whether an identifier means somebody.
func (w *Who) matches(id string) bool {
	kind, name, named := strings.Cut(id, "=")
	switch {
	case !named:
		return kind != "owner" || w.Owner
	case kind == "user":
		return w.User != "" && name == w.User
	}
	return slices.Contains(w.Groups, name)
}

// RightsOf returns the rights that the list gives somebody. Within a class
// entries add up; the highest class that says anything decides, for the
// rights that are given and for those that are taken each. An owner begins
// with all rights.
func (l *ACL) RightsOf(w Who) Rights {
	var given, taken Rights
	from := 1
	if w.Owner {
		given, from = AllRights, ownerClass
	}
	for c := from; c <= lastClass && l.exists; c++ {
		l.apply(c, &w, &given, &taken)
	}
	r := given &^ taken
	if w.Owner {
		r |= ownersRights
	}
	return r
}

func (l *ACL) apply(c int, w *Who, given, taken *Rights) {
	fresh := [2]bool{true, true}
	for i := range l.lines {
		e := &l.lines[i].entry
		if !l.lines[i].ok || class(e.ID) != c || !w.matches(e.ID) {
			continue
		}
		to, k := given, 0
		if e.Negative {
			to, k = taken, 1
		}
		if fresh[k] {
			*to, fresh[k] = 0, false
		}
		*to |= e.Rights
	}
}

// Entries returns what can be understood of the list, in its order.
func (l *ACL) Entries() []ACLEntry {
	var all []ACLEntry
	for _, line := range l.lines {
		if line.ok {
			all = append(all, line.entry)
		}
	}
	return all
}

// Get returns the entry of an identifier.
func (l *ACL) Get(id string, negative bool) (e ACLEntry, ok bool) {
	for _, line := range l.lines {
		if line.ok && line.entry.ID == id && line.entry.Negative == negative {
			return line.entry, true
		}
	}
	return ACLEntry{ID: id, Negative: negative}, false
}

// OwnerEntry returns what the list gives its owner, whose name is user: all
// rights if it does not say.
func (l *ACL) OwnerEntry(user string) ACLEntry {
	e, ok := l.Get("user="+user, false)
	if !ok {
		e, ok = l.Get("owner", false)
	}
	if !ok {
		e.Rights = AllRights
	}
	e.ID = "owner"
	e.Rights |= ownersRights
	return e
}

// Adopt makes what the list says of the owner by name, as Dovecot may have
// written it, the entry of the owner.
func (l *ACL) Adopt(user string, negative bool) {
	e, ok := l.Get("user="+user, negative)
	if !ok {
		return
	}
	l.Remove("user="+user, negative)
	e.ID = "owner"
	l.Set(e)
}

// Set puts an entry into the list, in place of the one with the same
// identifier.
func (l *ACL) Set(e ACLEntry) {
	l.exists = true
	line := aclLine{entry: e, ok: true, raw: e.line()}
	for i := range l.lines {
		if was := l.lines[i]; was.ok && was.entry.ID == e.ID && was.entry.Negative == e.Negative {
			l.lines[i] = line
			l.drop(i+1, e.ID, e.Negative)
			return
		}
	}
	l.lines = append(l.lines, line)
}

// Remove takes the entry of an identifier off the list.
func (l *ACL) Remove(id string, negative bool) { l.drop(0, id, negative) }

func (l *ACL) drop(from int, id string, negative bool) {
	l.lines = append(l.lines[:from], slices.DeleteFunc(l.lines[from:], func(line aclLine) bool {
		return line.ok && line.entry.ID == id && line.entry.Negative == negative
	})...)
}

// parseACL reads the file.
func parseACL(text string) *ACL {
	l := &ACL{exists: true}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			continue
		}
		e, ok := parseACLLine(line)
		l.lines = append(l.lines, aclLine{raw: line, entry: e, ok: ok})
	}
	return l
}

// parseACLLine reads one line. Letters and names that are not known are
// passed over: they can neither give nor take what is not there.
func parseACLLine(line string) (e ACLEntry, ok bool) {
	id, rest, ok := aclID(line)
	if !ok || strings.HasPrefix(line, "#") {
		return e, false
	}
	id, e.Negative = strings.CutPrefix(id, "-")
	if id == "anonymous" {
		id = "anyone"
	}
	e.ID = id
	letters, names, _ := strings.Cut(rest, ":")
	for i := range len(letters) {
		e.Rights |= rightOf(letters[i])
	}
	for name := range strings.FieldsSeq(names) {
		e.Rights |= namedRight(name)
	}
	return e, class(id) != 0
}

// aclID cuts the identifier off, which may be a quoted string.
func aclID(line string) (id, rest string, ok bool) {
	if !strings.HasPrefix(line, `"`) {
		id, rest, _ = strings.Cut(line, " ")
		return id, rest, id != ""
	}
	var b strings.Builder
	for i := 1; i < len(line); i++ {
		switch c := line[i]; c {
		case '"':
			return b.String(), line[i+1:], true
		case '\\':
			if i++; i < len(line) {
				b.WriteByte(line[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// namedRight returns the right of a name that Dovecot writes.
func namedRight(name string) Rights {
	for i, known := range [...]string{"lookup", "read", "write-seen", "write", "insert", "post", "create", "delete", "write-deleted", "expunge", "admin"} {
		if name == known {
			return 1 << i
		}
	}
	return 0
}

// line returns the entry as it stands in the file.
func (e *ACLEntry) line() string {
	id := e.ID
	if e.Negative {
		id = "-" + id
	}
	if strings.ContainsAny(id, " \"\\") {
		id = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(id) + `"`
	}
	return id + " " + e.Rights.String()
}

func (l *ACL) format() []byte {
	var b strings.Builder
	for _, line := range l.lines {
		b.WriteString(line.raw + "\n")
	}
	return []byte(b.String())
}
