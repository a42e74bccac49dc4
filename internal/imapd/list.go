package imapd

import (
	"cmp"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

const separator = mailbox.Separator

// maxPattern is the longest LIST pattern, in octets, with the reference, and
// all of one LIST together; maxPatterns bounds how many it may hold. Each is
// compared with each mailbox, at the product of their lengths.
const (
	maxPattern  = 1000
	maxPatterns = 100
)

// A listing is a parsed LIST or LSUB.
type listing struct {
	imap.ListOptions
	lsub      bool
	extended  bool // RFC 5258: options or several patterns were given
	reference string
	patterns  []string
	octets    int // of all patterns, each with the reference
	status    imap.StatusOptions
	metadata  *metaQuery // RFC 9590
	myRights  bool       // RFC 8440
	items     []string   // of ReturnStatus
}

// A listed mailbox is one that LIST may show.
type listed struct {
	mailbox.FolderInfo
	exists     bool // a folder or the parent of one
	subscribed bool
	below      bool // one below it meets the selection (RFC 5258 §3.5)
	hidden     bool // and one of these matches no pattern
	place      place
	oldName    string         // OLDNAME (RFC 9051 §6.3.9.7)
	rights     mailbox.Rights // where place.owner is set
}

// sep is the separator of the levels of its name.
func (m *listed) sep() string {
	if m.place.owner != "" || strings.Contains(m.Name, othersSeparator) {
		return othersSeparator
	}
	return separator
}

// list: RFC 3501 §6.3.8, RFC 5258, RFC 5819, RFC 6154.
func (s *session) list(p *parser) (reply, error) {
	l, err := p.listing()
	if err != nil {
		return reply{}, err
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	if !l.extended && l.patterns[0] == "" {
		s.untagged(`LIST (\Noselect) "." ""`) // RFC 3501 §6.3.8: asks for the separator
		return reply{}, nil
	}
	all, err := s.mailboxes(l)
	if err != nil {
		return reply{}, stored(err)
	}
	for i := range all {
		if !l.shows(&all[i]) {
			continue
		}
		s.sendListed("LIST", l, &all[i])
		if err := s.sendExtras(l, &all[i]); err != nil {
			return reply{}, err
		}
	}
	return reply{}, nil
}

// sendExtras sends what RETURN asked for besides the LIST line. What cannot
// be told of a mailbox is left out (RFC 5819 §2, RFC 8440 §3).
func (s *session) sendExtras(l *listing, m *listed) error {
	if !m.exists || !m.Selectable {
		return s.relieve()
	}
	if l.myRights {
		rights, err := s.rightsAt(m.place.account, m.place.folder)
		if err == nil && rights&anyRight != 0 {
			s.sendMyRights(m.Name, rights)
		}
	}
	if l.metadata != nil {
		if err := s.listMetadata(l, m); err != nil {
			return err
		}
	}
	if l.ReturnStatus != nil {
		if err := s.statusOf(m.Name, l.items); err != nil && !isGone(err) && !isRefusal(err) {
			return err
		}
	}
	return s.relieve()
}

// shows reports whether the options and the patterns choose m.
func (l *listing) shows(m *listed) bool {
	switch {
	case !l.matches(m.Name, m.sep()):
		return false
	case l.meets(m):
		return m.exists || l.SelectSubscribed
	}
	return l.SelectRecursiveMatch && m.hidden
}

// meets reports whether m satisfies the selection options (RFC 5258 §3.1).
func (l *listing) meets(m *listed) bool {
	return (!l.SelectSubscribed || m.subscribed) && (!l.SelectSpecialUse || m.SpecialUse != "")
}

// criteria names the selection options, for CHILDINFO.
func (l *listing) criteria() string {
	var names []string
	if l.SelectSubscribed {
		names = append(names, `"SUBSCRIBED"`)
	}
	if l.SelectSpecialUse {
		names = append(names, `"SPECIAL-USE"`)
	}
	return strings.Join(names, " ")
}

func (l *listing) matches(name, sep string) bool {
	for _, pattern := range l.patterns {
		if matchPattern(l.reference+pattern, name, sep[0]) {
			return true
		}
	}
	return false
}

// matchPattern reports whether a name matches a LIST pattern: * is anything,
// % anything but the separator. INBOX is matched without regard to case. The
// work is the product of the lengths at most.
func matchPattern(pattern, name string, sep byte) bool {
	if name == mailbox.Inbox {
		pattern = strings.ToUpper(pattern)
	}
	// reach[i]: the pattern so far can match name[:i]; not so below first.
	reach := make([]bool, len(name)+1)
	reach[0] = true
	first := 0
	for k := 0; k < len(pattern); k++ {
		switch c := pattern[k]; {
		case c == '*' && k > 0 && pattern[k-1] == '*':
		case c == '*' || c == '%':
			for i := first + 1; i <= len(name); i++ {
				reach[i] = reach[i] || reach[i-1] && (c == '*' || name[i-1] != sep)
			}
		default:
			for i := len(name); i > first; i-- {
				reach[i] = reach[i-1] && name[i-1] == c
			}
			reach[first] = false
		}
		for ; !reach[first]; first++ {
			if first == len(name) {
				return false
			}
		}
	}
	return reach[len(name)]
}

// mailboxes returns all folders that a pattern may match and all subscribed
// names, by name, INBOX first.
func (s *session) mailboxes(l *listing) ([]listed, error) {
	folders, err := s.account.Folders()
	if err != nil {
		return nil, err
	}
	names, err := s.account.Subscribed()
	if err != nil {
		return nil, err
	}
	t := listTree{all: make([]listed, 0, len(folders)+len(names)), at: make(map[string]int, len(folders)+len(names))}
	for _, f := range folders {
		t.add(listed{FolderInfo: f, exists: true, place: place{name: f.Name, account: s.account, folder: f.Name}})
	}
	if err := s.addOthers(l, &t); err != nil {
		return nil, err
	}
	for _, name := range names {
		t.subscribe(name)
	}
	if l.SelectRecursiveMatch || l.lsub {
		t.addParents(l)
	}
	slices.SortFunc(t.all, func(a, b listed) int { return compareNames(a.Name, b.Name) })
	return t.all, nil
}

// A listTree collects mailboxes, each once.
type listTree struct {
	all []listed
	at  map[string]int
}

func (t *listTree) add(m listed) {
	if _, ok := t.at[m.Name]; !ok {
		t.at[m.Name] = len(t.all)
		t.all = append(t.all, m)
	}
}

func (t *listTree) subscribe(name string) {
	t.add(listed{FolderInfo: mailbox.FolderInfo{Name: name}})
	t.all[t.at[name]].subscribed = true
}

// addParents marks the parents of mailboxes that meet the selection, and adds
// those that do not exist.
func (t *listTree) addParents(l *listing) {
	for n, last := 0, len(t.all); n < last; n++ {
		if m := &t.all[n]; l.meets(m) {
			t.markParents(m.Name, m.sep(), m.place, !l.matches(m.Name, m.sep()))
		}
	}
}

func (t *listTree) markParents(name, sep string, pl place, hidden bool) {
	for name = parentBy(name, sep); name != ""; name = parentBy(name, sep) {
		t.add(listed{FolderInfo: mailbox.FolderInfo{Name: name, HasChildren: true}, place: pl})
		up := &t.all[t.at[name]]
		if up.below && (up.hidden || !hidden) {
			return // and so are those above
		}
		up.below, up.hidden = true, up.hidden || hidden
	}
}

// parent returns the name above that of a folder, "" at the top.
func parent(name string) string { return parentBy(name, separator) }

func parentBy(name, sep string) string {
	i := strings.LastIndex(name, sep)
	return name[:max(i, 0)]
}

func compareNames(a, b string) int {
	if (a == mailbox.Inbox) != (b == mailbox.Inbox) {
		if a == mailbox.Inbox {
			return -1
		}
		return 1
	}
	return cmp.Compare(a, b)
}

// sendListed sends one LIST or LSUB line.
func (s *session) sendListed(kind string, l *listing, m *listed) {
	s.out = append(s.out, "* "...)
	s.out = append(s.out, kind...)
	s.out = append(s.out, " ("...)
	for i, a := range l.attributes(m) {
		if i > 0 {
			s.out = append(s.out, ' ')
		}
		s.out = append(s.out, a...)
	}
	s.text(`) "`, m.sep(), `" `)
	s.out = s.on.appendName(s.out, m.Name)
	if l.SelectRecursiveMatch && m.below {
		s.text(` ("CHILDINFO" (`, l.criteria(), `))`) // RFC 5258 §3.5
	}
	if m.oldName != "" {
		s.out = append(s.out, ` ("OLDNAME" (`...) // RFC 9051 §6.3.9.7
		s.out = append(s.on.appendName(s.out, m.oldName), "))"...)
	}
	s.out = append(s.out, "\r\n"...)
}

func (l *listing) attributes(m *listed) []imap.MailboxAttr {
	var a []imap.MailboxAttr
	switch {
	case !m.exists && l.extended:
		a = append(a, imap.MailboxAttrNonExistent)
	case !m.Selectable:
		a = append(a, imap.MailboxAttrNoSelect)
	}
	if m.exists {
		a = append(a, childAttr(m.HasChildren)) // RFC 3348
	}
	if m.subscribed && (l.ReturnSubscribed || l.SelectSubscribed) {
		a = append(a, imap.MailboxAttrSubscribed)
	}
	if m.SpecialUse != "" {
		a = append(a, imap.MailboxAttr(m.SpecialUse))
	}
	return a
}

func childAttr(has bool) imap.MailboxAttr {
	if has {
		return imap.MailboxAttrHasChildren
	}
	return imap.MailboxAttrHasNoChildren
}

// lsub: RFC 3501 §6.3.9.
func (s *session) lsub(p *parser) (reply, error) {
	l := &listing{lsub: true}
	l.SelectSubscribed = true
	if err := p.sp(); err != nil {
		return reply{}, err
	}
	if err := p.plainPatterns(l); err != nil {
		return reply{}, err
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	all, err := s.mailboxes(l)
	if err != nil {
		return reply{}, stored(err)
	}
	for i := range all {
		m := &all[i]
		// RFC 3501 §6.3.9: with %, a parent of a subscribed mailbox is shown as
		// \Noselect when it is not subscribed itself.
		if !l.matches(m.Name, m.sep()) || !m.subscribed && !m.hidden {
			continue
		}
		show := listed{FolderInfo: mailbox.FolderInfo{Name: m.Name, Selectable: m.subscribed}, place: m.place}
		s.sendListed("LSUB", l, &show)
	}
	return reply{}, nil
}

// listing takes the arguments of LIST.
func (p *parser) listing() (*listing, error) {
	l := &listing{}
	if err := p.sp(); err != nil {
		return nil, err
	}
	if p.peek() == '(' {
		l.extended = true
		if err := p.list(func() error { return p.selectOption(l) }); err != nil {
			return nil, err
		}
		if err := p.sp(); err != nil {
			return nil, err
		}
	}
	if err := p.patterns(l); err != nil {
		return nil, err
	}
	if l.SelectRecursiveMatch && !l.SelectSubscribed && !l.SelectSpecialUse {
		return nil, bad("RECURSIVEMATCH needs another option beside it") // RFC 5258 §3.2
	}
	if !p.eat(' ') {
		return l, nil
	}
	l.extended = true
	if w, err := p.word(); err != nil || w != "RETURN" {
		return nil, p.fail("expected RETURN")
	}
	if err := p.sp(); err != nil {
		return nil, err
	}
	return l, p.list(func() error { return p.returnOption(l) })
}

func (p *parser) selectOption(l *listing) error {
	w, err := p.word()
	if err != nil {
		return err
	}
	switch w {
	case "SUBSCRIBED":
		l.SelectSubscribed = true
	case "REMOTE":
		l.SelectRemote = true // there are none
	case "RECURSIVEMATCH":
		l.SelectRecursiveMatch = true
	case "SPECIAL-USE":
		l.SelectSpecialUse = true
	default:
		return p.fail("unknown selection option")
	}
	return nil
}

func (p *parser) returnOption(l *listing) error {
	w, err := p.word()
	if err != nil {
		return err
	}
	switch w {
	case "SUBSCRIBED":
		l.ReturnSubscribed = true
	case "CHILDREN":
		l.ReturnChildren = true // always told
	case "SPECIAL-USE":
		l.ReturnSpecialUse = true // always told
	case "MYRIGHTS":
		l.myRights = true
	case "METADATA":
		if err := p.sp(); err != nil {
			return err
		}
		return p.listMetadata(l)
	case "STATUS":
		if err := p.sp(); err != nil {
			return err
		}
		l.ReturnStatus = &l.status
		l.items, err = p.statusItems(l.ReturnStatus)
		return err
	default:
		return p.fail("unknown return option")
	}
	return nil
}

// patterns takes the reference and the patterns.
func (p *parser) patterns(l *listing) error {
	if err := p.takeReference(l); err != nil {
		return err
	}
	if p.peek() != '(' {
		return p.pattern(l)
	}
	l.extended = true
	err := p.list(func() error {
		if len(l.patterns) >= maxPatterns {
			return p.fail("more than %d patterns", maxPatterns)
		}
		return p.pattern(l)
	})
	if err == nil && len(l.patterns) == 0 {
		return p.fail("expected a pattern")
	}
	return err
}

func (p *parser) plainPatterns(l *listing) error {
	if err := p.takeReference(l); err != nil {
		return err
	}
	return p.pattern(l)
}

func (p *parser) takeReference(l *listing) error {
	raw, err := p.astring()
	if err != nil {
		return err
	}
	l.reference, err = p.patternName(raw)
	if err != nil {
		return err
	}
	return p.sp()
}

// pattern takes a list-mailbox (RFC 3501 §9).
func (p *parser) pattern(l *listing) error {
	var raw string
	var err error
	if c := p.peek(); c == '"' || c == '{' {
		raw, err = p.str()
	} else if raw = string(p.run(isListChar)); raw == "" {
		err = p.fail("expected a pattern")
	}
	if err != nil {
		return err
	}
	pattern, err := p.patternName(raw)
	l.patterns = append(l.patterns, pattern)
	if l.octets += len(l.reference) + len(pattern); err == nil && l.octets > maxPattern {
		return p.fail("patterns of more than %d octets", maxPattern)
	}
	return err
}

func (p *parser) patternName(raw string) (string, error) {
	if len(raw) > maxPattern {
		return "", p.fail("a pattern longer than %d octets", maxPattern)
	}
	pattern, ok := p.s.on.decodePattern(raw)
	if !ok {
		// Nothing can match it; but a client may have named it so elsewhere.
		return "\x00", nil
	}
	return pattern, nil
}
