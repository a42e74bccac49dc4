// Package table reads and edits the tables of who is here: the domains below
// the control directory, their users and aliases (peyk-tables(5)), and the
// routes to everywhere else.
//
//	domains/example.org/users      Dovecot's passwd-file format
//	domains/example.org/aliases    the aliases(5) format
//	domains/example.org/app-passwords, second-factor, access
//	access                         limits of logins and of mail
//	domains/example.org/certificates, certificates    who may log in with a client certificate
//
// Reading is cheap to repeat: a file is parsed again only when its times, size
// or inode have changed. A line that cannot be understood is never a reason to
// bounce mail: what it might have said is a temporary failure that names file
// and line, and the other lines keep working.
package table

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"peyk/internal/address"
	"peyk/internal/status"
)

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
// concurrent use. Its errors are *status.Error, 451 4.3.5: the tables are
// wrong or unreadable, and until somebody has looked nothing may bounce.
type Domains struct {
	dir      string
	users    cache[*users]
	aliases  cache[*aliases]
	includes cache[*include]
	apps     cache[*entries[AppPassword]]
	seconds  cache[*entries[SecondFactor]]
	access   cache[*accessTable]
	certs    cache[*certificates]
}

// OpenDomains returns the tables below a control directory. Nothing is read
// before it is asked for.
func OpenDomains(controlDir string) *Domains {
	return &Domains{dir: filepath.Join(controlDir, "domains")}
}

// List returns the local domains, sorted. Names that no domain can have are
// left out; Check reports them.
func (d *Domains) List() ([]string, error) {
	entries, err := os.ReadDir(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadable(err)
	}
	var names []string
	for _, e := range entries {
		if ok, err := d.Has(e.Name()); ok && err == nil {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Has reports whether domain (as address.Address holds it) is local. A name
// that is not a domain name is not, whatever path it might spell.
func (d *Domains) Has(domain string) (bool, error) {
	if !isDomain(domain) {
		return false, nil
	}
	info, err := os.Stat(d.path(domain))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, unreadable(err)
	}
	return info.IsDir(), nil
}

// path returns the path of a file in a domain's directory. The domain has
// passed isDomain.
func (d *Domains) path(domain string, elem ...string) string {
	return filepath.Join(append([]string{d.dir, domain}, elem...)...)
}

// isDomain reports whether s is a domain name in the one form that Peyk uses,
// which cannot hold a slash or an empty label.
func isDomain(s string) bool {
	name, err := address.ParseDomain(s, false)
	return err == nil && name == s && !strings.HasPrefix(name, "[")
}

// Check returns everything that is wrong in the tables, for mailctl.
func (d *Domains) Check() []error {
	errs := append(d.checkAccess(d.serverAccess(), ""), d.checkCertificates("")...)
	entries, err := os.ReadDir(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return errs
	}
	if err != nil {
		return append(errs, err)
	}
	for _, e := range entries {
		errs = append(errs, d.checkEntry(e.Name())...)
	}
	return errs
}

func (d *Domains) checkEntry(name string) []error {
	if strings.HasPrefix(name, ".") {
		return nil // an editor's lock
	}
	if ok, err := d.Has(name); !ok {
		return []error{&LineError{File: d.path(name), Err: errors.Join(err,
			errors.New("cannot use this entry: expected a directory whose name is a domain in lower case, internationalised ones as xn--"))}}
	}
	return slices.Concat(d.checkUsers(name), d.checkAliases(name), d.checkCertificates(name),
		checkEntries(d, &d.apps, name, appPasswordsFile, parseAppPassword),
		checkEntries(d, &d.seconds, name, secondFactorFile, parseSecondFactor),
		d.checkAccess(d.path(name, AccessFile), name))
}

// unreadable is the status of a table that cannot be read.
func unreadable(err error) *status.Error {
	return status.New(451, "4.3.5", "cannot read the tables of this host, try again later").Because("read tables", err)
}

// broken is the status of a line that cannot be understood.
func broken(err *LineError) *status.Error {
	return status.New(451, "4.3.5", "cannot look this address up now, try again later").Because("read tables", err)
}
