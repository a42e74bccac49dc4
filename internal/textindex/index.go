// Package textindex remembers which messages of an account hold which three
// characters in a row, so that SEARCH reads few messages.
//
// The index narrows, it never decides: a message that holds a text holds all
// trigrams of it, so one whose trigrams are not all there need not be read;
// the others are. The trigrams are those of the text that mailtext.Walker
// shows, folded by casemap, as SEARCH looks at it. What the index has not seen
// yet, or not whole, may always match.
//
// It is an SQLite file with a contentless FTS5 table, one for each account. It
// may be removed at any time; when it is damaged it is made anew.
package textindex

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
)

// Limits of the index.
const (
	MaxText   = 512 << 10 // octets of text of one message that are taken in; a longer one may always match
	maxGrams  = 24        // trigrams of a needle that are asked for
	busyTime  = 5 * time.Second
	version   = 2
	cachePage = 512 // KB of SQLite's cache for each connection
)

// schema: folders.upto is the greatest UID up to which all messages of the
// folder are in messages. partly marks those whose text is not all there.
var schema = []string{
	`CREATE TABLE folders (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, validity INTEGER NOT NULL, upto INTEGER NOT NULL)`,
	`CREATE TABLE messages (id INTEGER PRIMARY KEY, folder INTEGER NOT NULL, uid INTEGER NOT NULL, partly INTEGER NOT NULL, UNIQUE (folder, uid))`,
	`CREATE INDEX parts ON messages (folder, uid) WHERE partly`,
	`CREATE VIRTUAL TABLE texts USING fts5(text, content='', contentless_delete=1, detail=none, tokenize='trigram case_sensitive 1')`,
	fmt.Sprintf(`PRAGMA user_version = %d`, version),
}

// An Index is the open index of one account.
type Index struct {
	db      *sql.DB
	path    string
	Renewed error // why Open had to make it anew; nil: it did not
}

// Open opens the index in a file, or makes it. A file that is damaged, or of
// another version, is dropped.
func Open(path string) (*Index, error) {
	x, err := open(path)
	if err == nil || !Damaged(err) {
		return x, err
	}
	why := err
	if err := Remove(path); err != nil {
		return nil, err
	}
	if x, err = open(path); err != nil {
		return nil, err
	}
	x.Renewed = why
	return x, nil
}

var errVersion = errors.New("it is of another version")

// Damaged reports whether an error tells that the file cannot be used.
func Damaged(err error) bool {
	var s *sqlite.Error
	if errors.As(err, &s) {
		code := s.Code() & 0xff
		return code == 11 || code == 26 || code == 1 // SQLITE_CORRUPT, SQLITE_NOTADB; SQLITE_ERROR: a table is missing
	}
	return errors.Is(err, errVersion)
}

// Remove removes an index.
func Remove(path string) error {
	for _, name := range []string{path, path + "-wal", path + "-shm", path + "-journal"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func open(path string) (*Index, error) {
	if err := create(path); err != nil {
		return nil, err
	}
	// Nothing but the mail itself is worth a flush, but a file torn by a power
	// failure could hide messages: NORMAL flushes when it moves the log.
	query := url.Values{"_txlock": {"immediate"}, "_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busyTime.Milliseconds()), "journal_mode(WAL)", "synchronous(NORMAL)", "temp_store(MEMORY)",
		fmt.Sprintf("cache_size(-%d)", cachePage), "trusted_schema(0)", "journal_size_limit(1048576)",
	}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(2) // one that fills, one that answers
	db.SetMaxIdleConns(1)
	x := &Index{db: db, path: path}
	if err := x.prepare(); err != nil {
		db.Close()
		return nil, err
	}
	return x, nil
}

// create makes an empty file that only the owner may read; SQLite gives its
// other files the same mode.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	return err
}

// prepare makes the tables of a new file.
func (x *Index) prepare() error {
	tx, err := x.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var have, tables int
	if err := tx.QueryRow(`PRAGMA user_version`).Scan(&have); err != nil {
		return err
	}
	if have == version {
		return nil
	}
	if err := tx.QueryRow(`SELECT count(*) FROM sqlite_schema`).Scan(&tables); err != nil {
		return err
	}
	if have != 0 || tables > 0 {
		return errVersion
	}
	for _, s := range schema {
		if _, err := tx.Exec(s); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// Close closes the index.
func (x *Index) Close() error { return x.db.Close() }

// Path returns the file of the index.
func (x *Index) Path() string { return x.path }

// A Folder names one life of a folder: its mailbox.Folder.ID, and its
// UIDVALIDITY.
type Folder struct {
	ID          string
	UIDValidity uint32
}

// state returns the number of a folder, and up to which UID it is indexed;
// sql.ErrNoRows when it is not known.
func state(q interface {
	QueryRow(string, ...any) *sql.Row
}, f Folder) (id int64, upto uint32, err error) {
	err = q.QueryRow(`SELECT id, upto FROM folders WHERE name = ? AND validity = ?`, f.ID, f.UIDValidity).Scan(&id, &upto)
	return id, upto, err
}

// enter returns the state of a folder, which is new or has got another
// UIDVALIDITY perhaps.
func enter(tx *sql.Tx, f Folder) (id int64, upto uint32, err error) {
	if id, upto, err = state(tx, f); !errors.Is(err, sql.ErrNoRows) {
		return id, upto, err
	}
	if err := forget(tx, `name = ?`, f.ID); err != nil {
		return 0, 0, err
	}
	r, err := tx.Exec(`INSERT INTO folders (name, validity, upto) VALUES (?, ?, 0)`, f.ID, f.UIDValidity)
	if err != nil {
		return 0, 0, err
	}
	id, err = r.LastInsertId()
	return id, 0, err
}

// forget removes folders.
func forget(tx *sql.Tx, where string, args ...any) error {
	for _, s := range []string{
		`DELETE FROM texts WHERE rowid IN (SELECT id FROM messages WHERE folder IN (SELECT id FROM folders WHERE ` + where + `))`,
		`DELETE FROM messages WHERE folder IN (SELECT id FROM folders WHERE ` + where + `)`,
		`DELETE FROM folders WHERE ` + where,
	} {
		if _, err := tx.Exec(s, args...); err != nil {
			return err
		}
	}
	return nil
}

// Keep forgets all folders but those with these IDs.
func (x *Index) Keep(ids []string) error {
	keep := make(map[string]bool, len(ids))
	for _, id := range ids {
		keep[id] = true
	}
	tx, err := x.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	rows, err := tx.Query(`SELECT name FROM folders`)
	if err != nil {
		return err
	}
	names, err := column[string](rows)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !keep[name] {
			if err := forget(tx, `name = ?`, name); err != nil {
				return err
			}
		}
	}
	return tx.Commit()
}

// column reads rows of one column, and closes them.
func column[T any](rows *sql.Rows) (all []T, err error) {
	defer rows.Close()
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}
