// Package table reads and edits the tables of who is here: the domains below
// the control directory, their users and aliases (peyk-tables(5)), and the
// routes to everywhere else.
//
//	domains/example.org/users      Dovecot's passwd-file format
//	domains/example.org/aliases    the aliases(5) format
//
// Reading is cheap to repeat: a file is parsed again only when its time, size
// or inode has changed. A line that cannot be understood is never a reason to
// bounce mail: what it might have said is a temporary failure that names file
// and line, and the other lines keep working.
package table

import (
	"fmt"

	"peyk/internal/address"
	"peyk/internal/commit"
)

// User is one account, a line of a users file.
type User struct {
	Addr     address.Address   // its canonical address
	Password string            // {SCHEME}hash as it stands in the file; "" = no login
	UID, GID int               // -1 = not given
	Home     string            // "" = not given
	Fields   map[string]string // the extra fields, such as userdb_mail; a flag has the value ""
}

// Alias is one entry of an aliases file.
type Alias struct {
	Name    string   // local part in look-up form, or *
	Targets []string // as they stand in the file
	Line    int      // 1-based line of the name
}

// LineError is a line that cannot be understood.
type LineError struct {
	File string
	Line int // 1-based
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap gives the cause.
func (e *LineError) Unwrap() error { return e.Err }

// Domains reads the tables below one control directory. It is safe for
// concurrent use.
type Domains struct{ dir string }

// OpenDomains returns the tables below a control directory. Nothing is read
// before it is asked for.
func OpenDomains(controlDir string) *Domains { return &Domains{dir: controlDir} }

// List returns the local domains, sorted.
func (d *Domains) List() ([]string, error) { panic("not written yet") }

// Has reports whether domain (as address.Address holds it) is local.
func (d *Domains) Has(domain string) (bool, error) { panic("not written yet") }

// User looks up an account by the exact local part, without regard to case.
func (d *Domains) User(addr address.Address) (User, bool, error) { panic("not written yet") }

// Users returns all accounts of a domain in the order of the file.
func (d *Domains) Users(domain string) ([]User, error) { panic("not written yet") }

// Alias looks up the direct targets of an alias by the exact local part, which
// may be "*". Included files are read.
func (d *Domains) Alias(addr address.Address) ([]address.Address, bool, error) {
	panic("not written yet")
}

// Aliases returns all aliases of a domain in the order of the file.
func (d *Domains) Aliases(domain string) ([]Alias, error) { panic("not written yet") }

// Resolve returns the mailboxes and foreign addresses that stand behind an
// address of a local domain; none means that there is no such user. sep
// separates user and detail ("" = no subaddresses). userExists asks who has
// an account; nil looks into the users files.
func (d *Domains) Resolve(addr address.Address, sep string, userExists func(address.Address) (bool, error)) ([]address.Address, error) {
	panic("not written yet")
}

// Check returns everything that is wrong in the tables, for mailctl.
func (d *Domains) Check() []error { panic("not written yet") }

// Editor changes the tables: atomically, with a lock against a second editor,
// and so that comments and order are kept.
type Editor struct {
	dir  string
	disk *commit.Disk
}

// NewEditor returns an editor of the tables below a control directory.
func NewEditor(controlDir string, disk *commit.Disk) *Editor {
	return &Editor{dir: controlDir, disk: disk}
}

// AddDomain makes a domain local.
func (e *Editor) AddDomain(domain string) error { panic("not written yet") }

// RemoveDomain removes a domain with all its users and aliases.
func (e *Editor) RemoveDomain(domain string) error { panic("not written yet") }

// SetUser adds a user or replaces its line.
func (e *Editor) SetUser(u User) error { panic("not written yet") }

// RemoveUser removes a user; found is false when there was none.
func (e *Editor) RemoveUser(addr address.Address) (found bool, err error) { panic("not written yet") }

// SetAlias adds an alias or replaces its targets. The local part may be "*".
func (e *Editor) SetAlias(addr address.Address, targets []string) error { panic("not written yet") }

// RemoveAlias removes an alias; found is false when there was none.
func (e *Editor) RemoveAlias(addr address.Address) (found bool, err error) { panic("not written yet") }
