package imapd

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// maxKeywords is how many keywords a folder can hold.
const maxKeywords = 64

// maxKeyword is the longest keyword, in octets, and maxFlags bounds the flags
// of one command.
const (
	maxKeyword = 100
	maxFlags   = 500
)

// systemFlag is a flag of RFC 3501 §2.3.2 and its bit.
type systemFlag struct {
	name imap.Flag
	bit  mailbox.Flags
}

// systemFlags in the order in which they are sent.
var systemFlags = [...]systemFlag{
	{imap.FlagAnswered, mailbox.Answered},
	{imap.FlagFlagged, mailbox.Flagged},
	{imap.FlagDeleted, mailbox.Deleted},
	{imap.FlagSeen, mailbox.Seen},
	{imap.FlagDraft, mailbox.Draft},
	{imap.FlagForwarded, mailbox.Passed},
}

// flagRecent is given by the server only (RFC 3501 §2.3.2).
const flagRecent imap.Flag = `\Recent`

// appendFlags appends the flag list of a message.
func (sel *selected) appendFlags(dst []byte, m *mailbox.Message) []byte {
	return sel.appendFlagSet(dst, m, m.Flags)
}

func (sel *selected) appendFlagSet(dst []byte, m *mailbox.Message, flags mailbox.Flags) []byte {
	dst = append(dst, '(')
	start := len(dst)
	for _, f := range systemFlags {
		if flags&f.bit != 0 {
			dst = append(append(dst, f.name...), ' ')
		}
	}
	if sel.isRecent(m.UID) {
		dst = append(append(dst, flagRecent...), ' ')
	}
	for i, name := range sel.keywords {
		if m.Keywords&(1<<i) != 0 && name != "" {
			dst = append(append(dst, name...), ' ')
		}
	}
	if len(dst) > start {
		dst = dst[:len(dst)-1]
	}
	return append(dst, ')')
}

// sendFlagNames sends FLAGS and PERMANENTFLAGS (RFC 3501 §7.2.6, §7.1).
func (s *session) sendFlagNames() {
	names := make([]string, 0, len(systemFlags)+len(s.sel.keywords)+1)
	for _, f := range systemFlags {
		names = append(names, string(f.name))
	}
	used := 0
	for _, k := range s.sel.keywords {
		if k != "" {
			names = append(names, k)
			used++
		}
	}
	s.untagged("FLAGS (", strings.Join(names, " "), ")")
	may, keywords := s.sel.rights.Settable()
	switch {
	case s.sel.readOnly:
		names = nil
	default:
		names = permanent(names, may, keywords)
		if keywords && used < maxKeywords {
			names = append(names, string(imap.FlagWildcard))
		}
	}
	s.untagged("OK [PERMANENTFLAGS (", strings.Join(names, " "), ")] flags that stay")
}

// permanent returns the flags that the user may change (RFC 4314 §5.1.1).
func permanent(names []string, may mailbox.Flags, keywords bool) []string {
	return slices.DeleteFunc(names, func(name string) bool {
		if bit := bitOf(imap.Flag(name)); bit != 0 {
			return may&bit == 0
		}
		return !keywords
	})
}

// flagList takes a list of flags in parentheses.
func (p *parser) flagList() ([]imap.Flag, error) {
	var flags []imap.Flag
	err := p.list(func() error { return p.addFlag(&flags) })
	return flags, err
}

// flags takes a list, or flags without parentheses, as STORE allows both.
func (p *parser) flags() ([]imap.Flag, error) {
	if p.peek() == '(' {
		return p.flagList()
	}
	var flags []imap.Flag
	for {
		if err := p.addFlag(&flags); err != nil {
			return nil, err
		}
		if !p.eat(' ') {
			return flags, nil
		}
	}
}

func (p *parser) addFlag(flags *[]imap.Flag) error {
	if len(*flags) == maxFlags {
		return p.fail("more than %d flags", maxFlags)
	}
	f, err := p.flag()
	*flags = append(*flags, f)
	return err
}

func (p *parser) flag() (imap.Flag, error) {
	system := p.eat('\\')
	name, err := p.atom()
	if err != nil {
		return "", p.fail("expected a flag")
	}
	if !system {
		if len(name) > maxKeyword {
			return "", p.fail("a keyword longer than %d octets", maxKeyword)
		}
		return imap.Flag(name), nil
	}
	for _, f := range systemFlags {
		if strings.EqualFold(string(f.name), `\`+name) {
			return f.name, nil
		}
	}
	return "", p.fail("unknown flag, or one that a client cannot set")
}

// split tells system flags from keywords.
func split(flags []imap.Flag) (mailbox.Flags, []string) {
	var bits mailbox.Flags
	var keywords []string
	for _, f := range flags {
		if bit := bitOf(f); bit != 0 {
			bits |= bit
		} else if !slices.ContainsFunc(keywords, func(k string) bool { return strings.EqualFold(k, string(f)) }) {
			keywords = append(keywords, string(f))
		}
	}
	return bits, keywords
}

func bitOf(f imap.Flag) mailbox.Flags {
	for _, known := range systemFlags {
		if strings.EqualFold(string(known.name), string(f)) {
			return known.bit
		}
	}
	return 0
}

// keywordBits returns the bits of keywords; missing tells that the folder
// does not know one of them.
func keywordBits(names []string, keywords []string) (bits uint64, missing bool) {
	for _, k := range keywords {
		i := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, k) })
		if i < 0 {
			missing = true
			continue
		}
		bits |= 1 << i
	}
	return bits, missing
}
