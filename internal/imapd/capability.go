package imapd

import (
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mimescan"
	"peyk/internal/version"
)

// capsAlways are offered in every state.
var capsAlways = []imap.Cap{imap.CapIMAP4rev1, imap.CapIMAP4rev2, imap.CapSASLIR, imap.CapLiteralPlus, imap.CapEnable, imap.CapID}

// capsInside are offered to who has logged in.
var capsInside = []imap.Cap{imap.CapIdle, imap.CapNamespace, imap.CapChildren, imap.CapUnselect, imap.CapUIDPlus, imap.CapMove,
	imap.CapSpecialUse, imap.CapCreateSpecialUse, imap.CapListExtended, imap.CapListStatus, imap.CapStatusSize, imap.CapESearch,
	"PREVIEW", imap.CapSaveDate, imap.CapObjectID}

// capsSearch are the extensions about searching.
var capsSearch = []imap.Cap{imap.CapSearchRes, imap.CapWithin, imap.CapSort, "SORT=DISPLAY", imap.CapESort,
	"THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES", "THREAD=REFS",
	"CONTEXT=SEARCH", "PARTIAL", "MULTISEARCH", "I18NLEVEL=1", "SEARCH=FUZZY"}

// capsSync keep clients in step.
var capsSync = []imap.Cap{imap.CapCondStore, imap.CapQResync, imap.CapUIDOnly, imap.CapNotify}

// capabilities is the list for the present state (RFC 3501 §7.2.1).
func (s *session) capabilities() string {
	caps := capsAlways
	switch {
	case s.state != imap.ConnStateNotAuthenticated || s.o.Preauth != "":
		caps = append(caps[:len(caps):len(caps)], capsInside...)
		caps = append(caps, capsSearch...)
		caps = append(caps, capsShared...)
		caps = append(caps, s.intakeCaps()...)
		caps = append(caps, capsSync...)
		if s.isAdmin() {
			caps = append(caps, imap.CapQuotaSet)
		}
	case s.secured():
		caps = append(caps[:len(caps):len(caps)], s.startTLSCap())
		for _, mechanism := range s.mechanisms() {
			caps = append(caps, imap.AuthCap(mechanism))
		}
	default:
		caps = append(caps[:len(caps):len(caps)], s.startTLSCap(), imap.CapLoginDisabled) // RFC 3501 §7.2.1
	}
	words := make([]string, 0, len(caps))
	for _, c := range caps {
		if c != "" {
			words = append(words, string(c))
		}
	}
	return strings.Join(words, " ")
}

func (s *session) startTLSCap() imap.Cap {
	if s.o.TLS == nil || s.conn.TLSState() != nil || s.conn.Compressed() {
		return ""
	}
	return imap.CapStartTLS
}

// capability: RFC 3501 §6.1.1.
func (s *session) capability(p *parser) (reply, error) {
	if err := p.end(); err != nil {
		return reply{}, err
	}
	s.untagged("CAPABILITY ", s.capabilities())
	return reply{}, nil
}

// noop is NOOP (RFC 3501 §6.1.2) and CHECK (§6.4.1): every change is durable
// anyway once it is answered.
func (s *session) noop(p *parser) (reply, error) { return reply{}, p.end() }

// logout: RFC 3501 §6.1.3.
func (s *session) logout(p *parser) (reply, error) {
	if err := p.end(); err != nil {
		return reply{}, err
	}
	s.deselect()
	s.untagged("BYE see you")
	s.state = imap.ConnStateLogout
	return reply{}, nil
}

// maxIDFields: RFC 2971 §3.3.
const maxIDFields = 30

// identify is ID (RFC 2971).
func (s *session) identify(p *parser) (reply, error) {
	if err := p.sp(); err != nil {
		return reply{}, err
	}
	if err := p.idFields(); err != nil {
		return reply{}, err
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	s.out = append(s.out, `* ID ("name" "Peyk"`...)
	if s.state != imap.ConnStateNotAuthenticated { // strangers need not know which holes to look for
		s.out = append(s.out, ` "version" `...)
		s.out = mimescan.AppendString(s.out, version.Version)
	}
	s.out = append(s.out, ")\r\n"...)
	return reply{}, nil
}

func (p *parser) idFields() error {
	if p.peek() != '(' {
		_, err := p.nstring()
		return err
	}
	n := 0
	return p.list(func() error {
		if n++; n > 2*maxIDFields {
			return p.fail("more than %d fields", maxIDFields)
		}
		_, err := p.nstring()
		return err
	})
}

// namespace: RFC 2342.
func (s *session) namespace(p *parser) (reply, error) {
	if err := p.end(); err != nil {
		return reply{}, err
	}
	others := "NIL"
	if prefix := s.prefix(); prefix != "" {
		others = "((" + string(s.on.appendQuotedName(nil, prefix)) + ` "` + othersSeparator + `"))`
	}
	s.untagged(`NAMESPACE (("" "`, separator, `")) `, others, ` NIL`)
	return reply{}, nil
}
