package imapd

import (
	"cmp"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

const separator = mailbox.Separator

// maxPattern is the longest LIST pattern, in octets; maxPatterns bounds how
// many one LIST may hold.
const (
	maxPattern  = 1000
	maxPatterns = 100
)

// A listing is a parsed LIST or LSUB.
type listing struct {
	imap.ListOptions
	extended  bool // RFC 5258: options or several patterns were given
	reference string
	patterns  []string
	status    imap.StatusOptions
	items     []string // of ReturnStatus
}

// A listed mailbox is one that LIST may show.
type listed struct {
	mailbox.FolderInfo
	exists     bool // a folder or the parent of one
	subscribed bool
	below      bool // a subscribed mailbox below it (RFC 5258 §3.5)
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
	all, err := s.mailboxes()
	if err != nil {
		return reply{}, stored(err)
	}
	for i := range all {
		if !l.shows(&all[i]) {
			continue
		}
		s.sendListed("LIST", l, &all[i])
		if l.ReturnStatus != nil && all[i].exists && all[i].Selectable {
			if err := s.statusOf(all[i].Name, l.items); err != nil && !isGone(err) {
				return reply{}, err
			}
		}
	}
	return reply{}, nil
}

// shows reports whether the options and the patterns choose m.
func (l *listing) shows(m *listed) bool {
	if !l.matches(m.Name) {
		return false
	}
	switch {
	case l.SelectSpecialUse && m.SpecialUse == "":
		return false
	case l.SelectSubscribed && l.SelectRecursiveMatch:
		return m.subscribed || m.below && !l.matchesBelow(m)
	case l.SelectSubscribed:
		return m.subscribed
	}
	return m.exists
}

// matchesBelow is true where the children speak for themselves: RFC 5258 §3.5
// wants the parent only when none of them matches the pattern.
func (l *listing) matchesBelow(m *listed) bool { return l.matches(m.Name + separator + "x") }

func (l *listing) matches(name string) bool {
	for _, pattern := range l.patterns {
		if matchPattern(l.reference+pattern, name) {
			return true
		}
	}
	return false
}

// matchPattern reports whether a name matches a LIST pattern: * is anything,
// % anything but the separator. INBOX is matched without regard to case. The
// work is the product of the lengths at most.
func matchPattern(pattern, name string) bool {
	if name == mailbox.Inbox {
		pattern = strings.ToUpper(pattern)
	}
	// reach[i]: the pattern so far can match name[:i].
	reach := make([]bool, len(name)+1)
	reach[0] = true
	for k := 0; k < len(pattern); k++ {
		switch c := pattern[k]; c {
		case '*', '%':
			for i := 1; i <= len(name); i++ {
				reach[i] = reach[i] || reach[i-1] && (c == '*' || name[i-1] != separator[0])
			}
		default:
			for i := len(name); i > 0; i-- {
				reach[i] = reach[i-1] && name[i-1] == c
			}
			reach[0] = false
		}
	}
	return reach[len(name)]
}

// mailboxes returns all folders and all subscribed names, by name, INBOX
// first.
func (s *session) mailboxes() ([]listed, error) {
	folders, err := s.account.Folders()
	if err != nil {
		return nil, err
	}
	names, err := s.account.Subscribed()
	if err != nil {
		return nil, err
	}
	all := make([]listed, 0, len(folders)+len(names))
	at := make(map[string]int, cap(all))
	for _, f := range folders {
		at[f.Name] = len(all)
		all = append(all, listed{FolderInfo: f, exists: true})
	}
	for _, name := range names {
		if i, ok := at[name]; ok {
			all[i].subscribed = true
			continue
		}
		at[name] = len(all)
		all = append(all, listed{FolderInfo: mailbox.FolderInfo{Name: name}, subscribed: true})
	}
	all = addParents(all, at)
	slices.SortFunc(all, func(a, b listed) int { return compareNames(a.Name, b.Name) })
	return all, nil
}

// addParents marks the parents of subscribed mailboxes, and adds those that
// do not exist.
func addParents(all []listed, at map[string]int) []listed {
	for n := 0; n < len(all); n++ {
		if !all[n].subscribed {
			continue
		}
		for name := parent(all[n].Name); name != ""; name = parent(name) {
			i, ok := at[name]
			if !ok {
				i = len(all)
				at[name] = i
				all = append(all, listed{FolderInfo: mailbox.FolderInfo{Name: name, HasChildren: true}})
			}
			all[i].below = true
		}
	}
	return all
}

func parent(name string) string {
	i := strings.LastIndex(name, separator)
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
	s.out = append(s.out, `) "." `...)
	s.out = appendName(s.out, m.Name)
	if l.SelectRecursiveMatch && m.below {
		s.out = append(s.out, ` ("CHILDINFO" ("SUBSCRIBED"))`...) // RFC 5258 §3.5
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
	l := &listing{}
	if err := p.sp(); err != nil {
		return reply{}, err
	}
	if err := p.plainPatterns(l); err != nil {
		return reply{}, err
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	all, err := s.mailboxes()
	if err != nil {
		return reply{}, stored(err)
	}
	for i := range all {
		m := &all[i]
		// RFC 3501 §6.3.9: with %, a parent of a subscribed mailbox is shown as
		// \Noselect when it is not subscribed itself.
		if !l.matches(m.Name) || !m.subscribed && (!m.below || l.matchesBelow(m)) {
			continue
		}
		show := listed{FolderInfo: mailbox.FolderInfo{Name: m.Name, Selectable: m.subscribed}}
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
	if l.SelectRecursiveMatch && !l.SelectSubscribed {
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
	return err
}

func (p *parser) patternName(raw string) (string, error) {
	if len(raw) > maxPattern {
		return "", p.fail("a pattern longer than %d octets", maxPattern)
	}
	pattern, ok := decodePattern(raw)
	if !ok {
		// Nothing can match it; but a client may have named it so elsewhere.
		return "\x00", nil
	}
	return pattern, nil
}
