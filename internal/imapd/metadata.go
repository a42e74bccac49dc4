package imapd

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
	"peyk/internal/mimescan"
)

// Entries with a meaning of their own.
const (
	specialUseEntry = "/private/specialuse" // RFC 6154 §4
	adminEntry      = "/shared/admin"       // RFC 5464 §3.2.1.1, read-only
)

// codeMetaSize tells the largest value: RFC 5464 §4.3.
const codeMetaSize imap.ResponseCode = "METADATA MAXSIZE 32768"

// maxEntry is the longest name of an entry; maxEntries bounds one command.
const (
	maxEntry   = 255
	maxEntries = 100
)

// A metaQuery is a parsed GETMETADATA, or METADATA of LIST.
type metaQuery struct {
	entries []string
	depth   int   // levels below the entries; -1 is all
	maxSize int64 // of a value; -1 is no limit
	longest int64 // the longest value that was left out
}

// A metaTarget is what the entries are about.
type metaTarget struct {
	wire   string // the mailbox, "" for the server
	own    bool   // it is the user's own, or the server
	pl     place
	shared *mailbox.MetaStore // of /shared; nil has none
	mine   *mailbox.MetaStore // of /private
}

// getMetadata: RFC 5464 §4.2. Options stand before the mailbox by its
// grammar, and behind it in its examples: both are understood.
func (s *session) getMetadata(p *parser) (reply, error) {
	q := &metaQuery{maxSize: -1}
	if err := p.sp(); err != nil {
		return reply{}, err
	}
	if p.peek() == '(' {
		if err := p.metaOptions(q); err != nil {
			return reply{}, err
		}
	}
	raw, err := p.astring()
	if err != nil {
		return reply{}, err
	}
	if err := p.sp(); err != nil {
		return reply{}, err
	}
	if p.optionsNext() {
		if err := p.metaOptions(q); err != nil {
			return reply{}, err
		}
	}
	if err := p.metaEntries(q); err != nil {
		return reply{}, err
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	t, err := s.metaTarget(raw)
	if err != nil {
		return reply{}, err
	}
	if err := s.sendMetadata(t, q); err != nil {
		return reply{}, err
	}
	if q.longest > 0 {
		return reply{code: "METADATA LONGENTRIES " + strconv.FormatInt(q.longest, 10)}, nil
	}
	return reply{}, nil
}

// optionsNext tells options, which are words, from entries, which begin with
// a slash.
func (p *parser) optionsNext() bool {
	rest := bytes.ToUpper(p.line[p.pos:min(len(p.line), p.pos+len("(MAXSIZE"))])
	return bytes.HasPrefix(rest, []byte("(MAXSIZE")) || bytes.HasPrefix(rest, []byte("(DEPTH"))
}

// metaOptions takes the options and the space behind them.
func (p *parser) metaOptions(q *metaQuery) error {
	err := p.list(func() error {
		w, err := p.word()
		if err != nil {
			return err
		}
		if err := p.sp(); err != nil {
			return err
		}
		switch w {
		case "MAXSIZE":
			n, err := p.number()
			q.maxSize = int64(n)
			return err
		case "DEPTH":
			return p.metaDepth(q)
		}
		return p.fail("unknown option of GETMETADATA")
	})
	if err != nil {
		return err
	}
	return p.sp()
}

func (p *parser) metaDepth(q *metaQuery) error {
	w, err := p.word()
	if err != nil {
		return err
	}
	i := slices.Index([]string{"0", "1", "INFINITY"}, w)
	if i < 0 {
		return p.fail("expected 0, 1 or infinity")
	}
	q.depth = [...]int{0, 1, -1}[i]
	return nil
}

// metaEntries takes an entry, some in parentheses, or some one after another
// as in an example of RFC 5464 §4.4.1.
func (p *parser) metaEntries(q *metaQuery) error {
	take := func() error {
		name, err := p.astring()
		if err != nil {
			return err
		}
		if name, err = p.metaEntry(name); err != nil {
			return err
		}
		if len(q.entries) >= maxEntries {
			return p.fail("more than %d entries", maxEntries)
		}
		q.entries = append(q.entries, name)
		return nil
	}
	if p.peek() == '(' {
		if err := p.list(take); err != nil {
			return err
		}
		if len(q.entries) == 0 {
			return p.fail("expected an entry")
		}
		return nil
	}
	for {
		if err := take(); err != nil {
			return err
		}
		if !p.eat(' ') {
			return nil
		}
	}
}

// metaEntry checks the name of an entry (RFC 5464 §3.2) and returns it in
// lower case.
func (p *parser) metaEntry(name string) (string, error) {
	bad := len(name) > maxEntry || strings.Contains(name, "//") || strings.HasSuffix(name, "/") ||
		strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' || r == '*' || r == '%' })
	name = strings.ToLower(name)
	if bad || scopeOf(name) == "" {
		return "", p.fail("this is no name of an entry")
	}
	return name, nil
}

// scopeOf returns /private or /shared, "" for neither.
func scopeOf(entry string) string {
	for _, scope := range []string{"/private", "/shared"} {
		if entry == scope || strings.HasPrefix(entry, scope+"/") {
			return scope
		}
	}
	return ""
}

// settable reports whether an entry may have a value: one of a vendor has at
// least four components, others two (RFC 5464 §3.2).
func settable(entry string) bool {
	parts := strings.Split(entry, "/")[1:]
	return len(parts) >= 2 && (parts[1] != "vendor" || len(parts) >= 4)
}

// metaTarget finds what a command is about. RFC 5464 §3.3: the right l and
// one of r s w i p are needed on a mailbox.
func (s *session) metaTarget(raw string) (*metaTarget, error) {
	if raw == "" {
		return &metaTarget{own: true, shared: s.o.Metadata, mine: s.account.ServerMetadata()}, nil
	}
	name, err := s.on.decodeName(raw)
	if err != nil {
		return nil, err
	}
	return s.metaFor(name)
}

func (s *session) metaFor(name string) (*metaTarget, error) {
	pl, err := s.placeFor(name, mailbox.RightLookup)
	if err != nil {
		return nil, err
	}
	rights, err := s.rightsAt(pl.account, pl.folder)
	if err != nil {
		return nil, err
	}
	if rights&(mailbox.RightRead|mailbox.RightSeen|mailbox.RightWrite|mailbox.RightInsert|mailbox.RightPost) == 0 {
		return nil, no(imap.ResponseCodeNoPerm, "cannot use the metadata of folder %q: your rights are %q", pl.name, rights)
	}
	return s.metaOf(pl)
}

func (s *session) metaOf(pl place) (*metaTarget, error) {
	store, err := pl.account.Metadata(pl.folder)
	if err != nil {
		return nil, stored(err)
	}
	return &metaTarget{wire: pl.name, own: pl.owner == "", pl: pl, shared: store, mine: store}, nil
}

// mineIn is the scope of the user's private entries.
func (s *session) mineIn(t *metaTarget) string {
	if t.own {
		return "owner"
	}
	return "user=" + s.user
}

// sendMetadata sends the entries that are asked for (RFC 5464 §4.4.1). One
// that has no value is NIL.
func (s *session) sendMetadata(t *metaTarget, q *metaQuery) error {
	all, err := s.metadata(t)
	if err != nil {
		return err
	}
	sep := " ("
	for _, e := range q.choose(all) {
		if int64(len(e.Value)) > q.maxSize && q.maxSize >= 0 {
			q.longest = max(q.longest, int64(len(e.Value)))
			continue
		}
		if sep == " (" {
			s.text("* METADATA ")
			s.out = s.appendMailbox(s.out, t.wire)
		}
		s.text(sep)
		s.out = appendAstring(s.out, e.Name)
		s.out = appendMetaValue(append(s.out, ' '), e.Value)
		sep = " "
		if err := s.relieve(); err != nil {
			return err
		}
	}
	if sep == " " {
		s.text(")\r\n")
	}
	return s.relieve()
}

func appendMetaValue(dst, value []byte) []byte {
	switch {
	case value == nil:
		return append(dst, "NIL"...)
	case bytes.IndexByte(value, 0) >= 0: // RFC 5464 §5: literal8
		dst = append(dst, "~{"...)
		dst = strconv.AppendInt(dst, int64(len(value)), 10)
		return append(append(dst, "}\r\n"...), value...)
	}
	return mimescan.AppendString(dst, string(value))
}

// metadata returns all entries that the user may see.
func (s *session) metadata(t *metaTarget) ([]mailbox.MetaEntry, error) {
	all, err := t.mine.Entries(s.mineIn(t))
	if err != nil {
		return nil, stored(err)
	}
	if t.shared != nil {
		shared, err := t.shared.Entries(mailbox.MetaShared)
		if err != nil {
			return nil, stored(err)
		}
		all = append(all, shared...)
	}
	if t.wire == "" && s.o.AdminURI != "" {
		all = append(all, mailbox.MetaEntry{Name: adminEntry, Value: []byte(s.o.AdminURI)})
	}
	if t.wire != "" && t.own {
		if use := t.pl.account.Use(t.pl.folder); use != "" {
			all = append(all, mailbox.MetaEntry{Name: specialUseEntry, Value: []byte(use)})
		}
	}
	slices.SortFunc(all, func(a, b mailbox.MetaEntry) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// choose returns the entries that are asked for, each once.
func (q *metaQuery) choose(all []mailbox.MetaEntry) []mailbox.MetaEntry {
	var chosen []mailbox.MetaEntry
	done := make(map[string]bool)
	add := func(e mailbox.MetaEntry) {
		if !done[e.Name] {
			done[e.Name] = true
			chosen = append(chosen, e)
		}
	}
	for _, want := range q.entries {
		found := false
		for _, e := range all {
			if e.Name == want || q.below(want, e.Name) {
				add(e)
				found = true
			}
		}
		if !found && q.depth == 0 {
			add(mailbox.MetaEntry{Name: want})
		}
	}
	return chosen
}

// below reports whether an entry lies below another, as far as DEPTH goes
// (RFC 5464 §4.2.2).
func (q *metaQuery) below(want, name string) bool {
	rest, ok := strings.CutPrefix(name, want+"/")
	return ok && (q.depth < 0 || strings.Count(rest, "/") < q.depth)
}

// listMetadata takes the argument of RETURN (METADATA ...): RFC 9590 §5.
func (p *parser) listMetadata(l *listing) error {
	l.metadata = &metaQuery{maxSize: -1}
	if p.optionsNext() {
		if err := p.metaOptions(l.metadata); err != nil {
			return err
		}
	}
	if p.peek() != '(' {
		return p.fail("expected entries")
	}
	return p.metaEntries(l.metadata)
}

// listMetadata sends the entries of a listed mailbox that LIST asked for.
func (s *session) listMetadata(l *listing, m *listed) error {
	t, err := s.metaFor(m.Name)
	if err != nil {
		if isRefusal(err) || isGone(err) {
			return nil
		}
		return err
	}
	return s.sendMetadata(t, l.metadata)
}

// appendMailbox appends a name, or the empty string, which is the server.
func (s *session) appendMailbox(dst []byte, name string) []byte {
	if name == "" {
		return append(dst, `""`...)
	}
	return s.on.appendName(dst, name)
}
