package imapd

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/text/unicode/norm"

	"peyk/internal/mailbox"
)

// capsShared are the extensions about who may do what, how much there may be,
// and what is known of mailboxes.
var capsShared = []imap.Cap{imap.CapACL, "RIGHTS=kxte", "LIST-MYRIGHTS",
	imap.CapQuota, "QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE", "QUOTA=RES-MAILBOX",
	imap.CapMetadata, imap.CapMetadataServer, imap.CapListMetadata}

// maxIdentifier is the longest identifier of an access control list, in
// octets.
const maxIdentifier = 320

// anyRight: with one of these MYRIGHTS is answered (RFC 4314 §4).
const anyRight = mailbox.RightLookup | mailbox.RightRead | mailbox.RightInsert | mailbox.RightCreate | mailbox.RightRemove | mailbox.RightAdmin

// An aclTarget is an identifier of SETACL and its like.
type aclTarget struct {
	wire     string // as the client wrote it
	id       string // as the list has it
	negative bool
	gains    bool // it is to get rights
}

// myRights: RFC 4314 §3.5.
func (s *session) myRights(p *parser) (reply, error) {
	name, err := p.oneName()
	if err != nil {
		return reply{}, err
	}
	pl, err := s.place(name)
	if err != nil {
		return reply{}, err
	}
	f, err := s.folderAt(pl, 0)
	if err != nil {
		return reply{}, err
	}
	defer f.Close()
	rights, err := s.rightsIn(f)
	if err != nil {
		return reply{}, err
	}
	if rights&anyRight == 0 {
		return reply{}, nonexistent(pl.name)
	}
	s.sendMyRights(pl.name, rights)
	return reply{}, nil
}

func (s *session) sendMyRights(name string, rights mailbox.Rights) {
	s.out = append(s.out, "* MYRIGHTS "...)
	s.out = s.on.appendName(s.out, name)
	s.out = append(s.out, ' ')
	s.out = appendAstring(s.out, rights.Wire())
	s.out = append(s.out, "\r\n"...)
}

// getACL: RFC 4314 §3.3.
func (s *session) getACL(p *parser) (reply, error) {
	name, err := p.oneName()
	if err != nil {
		return reply{}, err
	}
	pl, f, err := s.administer(name)
	if err != nil {
		return reply{}, err
	}
	defer f.Close()
	list, err := f.ACL()
	if err != nil {
		return reply{}, stored(err)
	}
	s.out = append(s.out, "* ACL "...)
	s.out = s.on.appendName(s.out, pl.name)
	s.appendEntry(pl, list.OwnerEntry(s.ownerOf(pl)))
	for _, e := range list.Entries() {
		if e.Negative || e.ID != "owner" && e.ID != "user="+s.ownerOf(pl) {
			s.appendEntry(pl, e)
		}
	}
	s.out = append(s.out, "\r\n"...)
	return reply{}, nil
}

// appendEntry appends an identifier and its rights.
func (s *session) appendEntry(pl place, e mailbox.ACLEntry) {
	id := s.identifier(pl, e.ID)
	if e.Negative {
		id = "-" + id
	}
	s.out = append(s.out, ' ')
	s.out = appendAstring(s.out, id)
	s.out = append(s.out, ' ')
	s.out = appendAstring(s.out, e.Rights.Wire())
}

// ownerOf returns the name of the user whose mailbox it is; "" if nobody knows.
func (s *session) ownerOf(pl place) string {
	if pl.owner == "" {
		return s.user
	}
	return pl.owner
}

// identifier returns the wire form of an identifier: users by their names,
// groups behind a dollar sign, as Dovecot writes them.
func (s *session) identifier(pl place, id string) string {
	kind, name, _ := strings.Cut(id, "=")
	switch kind {
	case "owner":
		if owner := s.ownerOf(pl); owner != "" {
			return owner
		}
	case "user":
		return name
	case "group":
		return "$" + name
	case "group-override":
		return "!$" + name
	}
	return id
}

// administer opens a mailbox whose list the user may read and change.
func (s *session) administer(name string) (place, *mailbox.Folder, error) {
	pl, err := s.place(name)
	if err != nil {
		return pl, nil, err
	}
	f, err := s.folderAt(pl, mailbox.RightAdmin)
	return pl, f, err
}

// setACL: RFC 4314 §3.1.
func (s *session) setACL(p *parser) (reply, error) {
	name, who, err := p.aclArguments()
	if err != nil {
		return reply{}, err
	}
	mod, err := p.nextAstring()
	if err != nil {
		return reply{}, err
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	gains, ok := modified(0, mod)
	if !ok {
		return reply{}, bad("unknown right") // RFC 4314 §3.1
	}
	who.gains = !who.negative && gains != 0
	return reply{}, s.changeACL(name, who, func(l *mailbox.ACL, t aclTarget) {
		e, known := l.Get(t.id, t.negative)
		if !known && t.id == "owner" && !t.negative {
			e.Rights = mailbox.AllRights
		}
		e.Rights, _ = modified(e.Rights, mod)
		l.Set(e)
	})
}

// modified applies a mod-rights (RFC 4314 §3.1): letters that replace the
// rights, or are added to them or taken from them. It is not ok when one of
// them is no right.
func modified(has mailbox.Rights, mod string) (mailbox.Rights, bool) {
	letters := strings.TrimLeft(mod[:min(len(mod), 1)], "+-") + mod[min(len(mod), 1):]
	rights, ok := mailbox.ParseRights(letters)
	switch {
	case strings.HasPrefix(mod, "+"):
		rights |= has
	case strings.HasPrefix(mod, "-"):
		rights = has &^ rights
	}
	return rights, ok
}

// deleteACL: RFC 4314 §3.2.
func (s *session) deleteACL(p *parser) (reply, error) {
	name, who, err := p.aclArguments()
	if err != nil {
		return reply{}, err
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	return reply{}, s.changeACL(name, who, func(l *mailbox.ACL, t aclTarget) { l.Remove(t.id, t.negative) })
}

// changeACL changes the list of a mailbox, and notes with whom its owner
// shares anything now.
func (s *session) changeACL(name string, who aclTarget, change func(*mailbox.ACL, aclTarget)) error {
	pl, f, err := s.administer(name)
	if err != nil {
		return err
	}
	f.Close()
	who.id, err = s.aclID(pl, who)
	if err != nil {
		return err
	}
	if shared := s.sharedList(pl); shared != nil && who.gains {
		if err := shared.Admits(pl.account, who.id); err != nil {
			return stored(err)
		}
	}
	if err := pl.account.ChangeACL(pl.folder, func(l *mailbox.ACL) {
		if who.id == "owner" {
			l.Adopt(s.ownerOf(pl), who.negative)
		}
		change(l, who)
	}); err != nil {
		return stored(err)
	}
	return s.noteShared(pl)
}

func (s *session) noteShared(pl place) error {
	shared := s.sharedList(pl)
	if shared == nil {
		return nil
	}
	return stored(shared.Update(s.ownerOf(pl), pl.account))
}

// sharedList is where it stands with whom the owner of a mailbox shares; nil
// where that is not noted.
func (s *session) sharedList(pl place) *mailbox.SharedList {
	if s.ownerOf(pl) == "" {
		return nil
	}
	return s.o.Shared
}

// aclID returns an identifier as the list has it.
func (s *session) aclID(pl place, who aclTarget) (string, error) {
	name := who.id
	switch {
	case name == "anyone" || name == "anonymous":
		return "anyone", nil
	case name == "authenticated" || name == "owner":
		return name, nil
	case strings.HasPrefix(name, "#"):
		return "", no(imap.ResponseCodeCannot, "cannot change what holds for all mailboxes")
	case strings.HasPrefix(name, "$") && len(name) > 1:
		return "group=" + name[1:], nil
	case strings.HasPrefix(name, "!$") && len(name) > 2:
		return "group-override=" + name[2:], nil
	}
	if d := s.directory(); d != nil && s.user != "" {
		found, ok, err := d.Find(s.ctx, name)
		if err != nil {
			return "", stored(err)
		}
		if ok {
			name = found.Name
		}
	}
	if name == s.ownerOf(pl) {
		return "owner", nil
	}
	return "user=" + name, nil
}

// listRights: RFC 4314 §3.4. No right is tied to another.
func (s *session) listRights(p *parser) (reply, error) {
	name, who, err := p.aclArguments()
	if err != nil {
		return reply{}, err
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	pl, f, err := s.administer(name)
	if err != nil {
		return reply{}, err
	}
	f.Close()
	id, err := s.aclID(pl, who)
	if err != nil {
		return reply{}, err
	}
	always, rest := `""`, " l r s w i p k x t e a c d"
	if id == "owner" && !who.negative {
		always, rest = "la", " r s w i p k x t e c d"
	}
	s.out = append(s.out, "* LISTRIGHTS "...)
	s.out = s.on.appendName(s.out, pl.name)
	s.out = append(s.out, ' ')
	s.out = appendAstring(s.out, who.wire)
	s.text(" ", always, rest, "\r\n")
	return reply{}, nil
}

// aclArguments takes a mailbox and an identifier.
func (p *parser) aclArguments() (name string, who aclTarget, err error) {
	if err = p.sp(); err != nil {
		return
	}
	raw, err := p.astring()
	if err != nil {
		return
	}
	if who.wire, err = p.nextAstring(); err != nil {
		return
	}
	// RFC 4314 §3 wants SASLprep; NFC without control characters is what the
	// names of accounts have.
	who.id, who.negative = strings.CutPrefix(norm.NFC.String(who.wire), "-")
	if who.id == "" || len(who.id) > maxIdentifier || !utf8.ValidString(who.id) || strings.ContainsFunc(who.id, unicode.IsControl) {
		return name, who, p.fail("this is no identifier")
	}
	name, err = p.s.on.decodeName(raw)
	return name, who, err
}
