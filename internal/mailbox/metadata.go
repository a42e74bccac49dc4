package mailbox

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"peyk/internal/status"
)

// Metadata (RFC 5464) stands in files of our own, a line for each entry:
//
//	SCOPE<TAB>/shared/comment<TAB>VALUE
//
// The scope is shared, or whose private entry it is: owner, user=NAME. In the
// value %XX stands for control octets, octets over 126 and the percent sign.
const (
	metadataName       = "peyk-metadata"        // in the directory of a folder
	serverMetadataName = "peyk-metadata-server" // in the root: the account's private server entries
)

// ServerMetaName is the file in the mail root with the server's shared entries.
const ServerMetaName = "peyk-metadata"

// Limits of metadata.
const (
	MaxMetaValue   = 32 << 10 // octets of a value
	maxMetaEntries = 100      // of one scope
	maxMetaFile    = 8 << 20
	maxMetaGuest   = 256 << 10 // octets of the file for a user who is not the owner
	maxMetaGuests  = 2 << 20   // and for all of them, who must not fill it for the owner
)

// Errors of metadata; the texts are for logs.
var (
	ErrMetaSize = errors.New("metadata value too large")
	ErrMetaMany = errors.New("too many metadata entries")
)

// MetaShared is the scope that all users share.
const MetaShared = "shared"

// A MetaEntry is one annotation.
type MetaEntry struct {
	Scope string // MetaShared, owner, user=NAME
	Name  string // in lower case
	Value []byte // nil in a change: remove it
}

// MetaStore is the metadata of a folder, an account or a server.
type MetaStore struct {
	host *Host
	path string
	top  string // the directory in which changes are heard
}

// Metadata returns the store of a folder, which must exist.
func (a *Account) Metadata(name string) (*MetaStore, error) {
	name = CanonicalName(name)
	if err := CheckName(name); err != nil {
		return nil, err
	}
	dir, err := a.find(name)
	if err != nil {
		return nil, err
	}
	return &MetaStore{a.host, filepath.Join(dir, metadataName), a.root}, nil
}

// ServerMetadata returns the store of the account's own server entries.
func (a *Account) ServerMetadata() *MetaStore {
	return &MetaStore{a.host, filepath.Join(a.root, serverMetadataName), a.root}
}

// MetaStore returns the store in a file.
func (h *Host) MetaStore(path string) *MetaStore {
	return &MetaStore{h, path, filepath.Dir(path)}
}

// Entries returns all entries of the scopes, by name.
func (m *MetaStore) Entries(scopes ...string) ([]MetaEntry, error) {
	all, err := m.read()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(e MetaEntry) bool { return !slices.Contains(scopes, e.Scope) })
	return all, nil
}

func (m *MetaStore) read() ([]MetaEntry, error) {
	text, _, err := readSmall(m.path, maxMetaFile)
	if err != nil {
		return nil, temporary("cannot read the metadata", m.path, err)
	}
	return parseMetadata(string(text)), nil
}

// parseMetadata passes over lines that make no sense.
func parseMetadata(text string) []MetaEntry {
	var all []MetaEntry
	for line := range strings.Lines(text) {
		scope, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		name, raw, ok2 := strings.Cut(rest, "\t")
		value, ok3 := unescapeMeta(raw)
		if ok && ok2 && ok3 && scope != "" && name != "" {
			all = append(all, MetaEntry{scope, name, value})
		}
	}
	slices.SortStableFunc(all, compareMeta)
	return slices.CompactFunc(all, func(a, b MetaEntry) bool { return compareMeta(a, b) == 0 })
}

func formatMetadata(all []MetaEntry) []byte {
	var b []byte
	for _, e := range all {
		b = append(b, e.Scope+"\t"+e.Name+"\t"...)
		b = append(escapeMeta(b, e.Value), '\n')
	}
	return b
}

func escapeMeta(dst, value []byte) []byte {
	for _, c := range value {
		if c < ' ' || c > '~' || c == '%' {
			dst = append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

func unescapeMeta(text string) ([]byte, bool) {
	value := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			value = append(value, text[i])
			continue
		}
		if i+2 >= len(text) {
			return nil, false
		}
		hi, lo := hexDigit(text[i+1]), hexDigit(text[i+2])
		if hi < 0 || lo < 0 {
			return nil, false
		}
		value = append(value, byte(hi<<4|lo))
		i += 2
	}
	return value, true
}

const hexDigits = "0123456789ABCDEF"

func hexDigit(c byte) int { return strings.IndexByte(hexDigits, c) }

// Change sets and removes entries, all or none, durably.
func (m *MetaStore) Change(changes []MetaEntry) error {
	for _, c := range changes {
		if len(c.Value) > MaxMetaValue {
			return status.Newf(552, "5.3.4", "cannot keep a value of more than %d octets", MaxMetaValue).Because(m.path, ErrMetaSize)
		}
	}
	lock, err := m.host.locks.lock(context.Background(), m.path+".lock", m.path)
	if err != nil {
		return temporary("cannot lock the metadata", m.path, err)
	}
	defer lock.release()
	was, err := m.read()
	if err != nil {
		return err
	}
	now := slices.Clone(was)
	for _, c := range changes {
		now = c.apply(now)
	}
	text := formatMetadata(now)
	if tooMany(now) || tooMuch(now) || len(text) > maxMetaFile {
		return status.Newf(552, "5.3.4", "cannot keep more than %d entries", maxMetaEntries).Because(m.path, ErrMetaMany)
	}
	if err := m.host.o.Disk.ReplaceFile(m.path, text, 0o600); err != nil {
		return temporary("cannot save the metadata", m.path, err)
	}
	m.changed()
	return nil
}

// Path is the file of the store, which tells it from others.
func (m *MetaStore) Path() string { return m.path }

func (e MetaEntry) apply(all []MetaEntry) []MetaEntry {
	i, found := slices.BinarySearchFunc(all, e, compareMeta)
	switch {
	case found && e.Value == nil:
		return slices.Delete(all, i, i+1)
	case found:
		all[i] = e
		return all
	case e.Value == nil:
		return all
	}
	return slices.Insert(all, i, e)
}

func compareMeta(a, b MetaEntry) int {
	if c := strings.Compare(a.Scope, b.Scope); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}

func tooMany(all []MetaEntry) bool {
	count := make(map[string]int)
	for _, e := range all {
		if count[e.Scope]++; count[e.Scope] > maxMetaEntries {
			return true
		}
	}
	return false
}

// tooMuch reports whether users who are not the owner take more than their
// share.
func tooMuch(all []MetaEntry) bool {
	sum, guests := make(map[string]int), 0
	for i := range all {
		if strings.HasPrefix(all[i].Scope, "user=") {
			n := len(formatMetadata(all[i : i+1]))
			guests += n
			sum[all[i].Scope] += n
			if sum[all[i].Scope] > maxMetaGuest || guests > maxMetaGuests {
				return true
			}
		}
	}
	return false
}

// copyMetadata copies what is known of one folder to another
// (RFC 5464 §4.1, for INBOX that is renamed).
func (a *Account) copyMetadata(from, to *Folder) error {
	text, err := readRegular(from.path(metadataName), maxMetaFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return a.host.o.Disk.ReplaceFile(to.path(metadataName), text, 0o600)
}

// Use returns the special use of a folder, "" for none.
func (a *Account) Use(name string) string {
	stored := a.specialUses()
	if use, ok := stored[name]; ok {
		return use
	}
	for _, u := range uses {
		if u.name != name || u.name == "" {
			continue
		}
		for other, use := range stored {
			if _, err := a.find(other); use == u.use && err == nil {
				return "" // it was given to another folder
			}
		}
		return u.use
	}
	return ""
}

// SetUse gives a folder a special use; "" takes what it was given.
func (a *Account) SetUse(name, use string) error {
	if err := checkUse(use); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.setSpecialUse(func(uses map[string]string) {
		delete(uses, name)
		if use != "" {
			uses[name] = use
		}
	})
}
