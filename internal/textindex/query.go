package textindex

import (
	"database/sql"
	"errors"
	"slices"
	"strings"
)

// Candidates are the messages of a folder that may hold a text.
type Candidates struct {
	upto uint32
	uids []uint32 // ascending
}

// Has reports whether a message may hold the text.
func (c *Candidates) Has(uid uint32) bool {
	if uid > c.upto {
		return true
	}
	_, ok := slices.BinarySearch(c.uids, uid)
	return ok
}

// Candidates returns the messages of a folder that may hold one of the texts,
// which are folded by casemap; nil when the index cannot tell: a text has fewer
// than three characters, or the folder is not known.
func (x *Index) Candidates(f Folder, texts ...string) (*Candidates, error) {
	var matches []string
	for _, text := range texts {
		match := trigrams(text)
		if match == "" {
			return nil, nil
		}
		matches = append(matches, "("+match+")")
	}
	match := strings.Join(matches, " OR ")
	tx, err := x.db.Begin() // one state of the file for all questions
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	id, upto, err := state(tx, f)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(`SELECT uid FROM messages WHERE folder = ?1 AND partly
		UNION SELECT m.uid FROM texts JOIN messages AS m ON m.id = texts.rowid WHERE texts MATCH ?2 AND m.folder = ?1 ORDER BY 1`, id, match)
	if err != nil {
		return nil, err
	}
	uids, err := column[uint32](rows)
	return &Candidates{upto, uids}, err
}

// trigrams makes the question for all trigrams of a text, or, of a long one,
// for some of them all over it; "" when it has none.
func trigrams(text string) string {
	runes := []rune(text)
	n := len(runes) - 2
	if n < 1 || strings.ContainsRune(text, 0) {
		return ""
	}
	step := (n + maxGrams - 1) / maxGrams
	var b strings.Builder
	for i := 0; i < n; i += step {
		if i > 0 {
			b.WriteString(" AND ")
		}
		b.WriteString(`"` + strings.ReplaceAll(string(runes[i:i+3]), `"`, `""`) + `"`)
	}
	return b.String()
}
