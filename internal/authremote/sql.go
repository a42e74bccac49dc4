package authremote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
	_ "modernc.org/sqlite"             // the driver sqlite

	"peyk/internal/address"
	"peyk/internal/passhash"
)

// database is a source that is asked in SQL.
type database struct {
	db                     *sql.DB
	password, user, listed query
}

// query is a statement whose values are bound, never pasted in.
type query struct {
	text   string
	values []byte // which, in order: u the address, n the local part, d the domain
}

// parseQuery puts a placeholder for each %u, %n and %d; %% is a percent sign.
func parseQuery(text string, placeholder func(n int) string) (query, error) {
	var q query
	for {
		before, rest, found := strings.Cut(text, "%")
		q.text += before
		if !found {
			return q, nil
		}
		if rest == "" {
			return q, errors.New("a query ends in %")
		}
		switch c := rest[0]; c {
		case '%':
			q.text += "%"
		case 'u', 'n', 'd':
			q.values = append(q.values, c)
			q.text += placeholder(len(q.values))
		default:
			return q, errors.New("expected %u, %n, %d or %% in a query")
		}
		text = rest[1:]
	}
}

func (q query) bind(user address.Address) []any {
	var values []any
	for _, c := range q.values {
		switch c {
		case 'u':
			values = append(values, user.Local+"@"+user.Domain)
		case 'n':
			values = append(values, user.Local)
		case 'd':
			values = append(values, user.Domain)
		}
	}
	return values
}

func openPostgreSQL(o options) (source, error) {
	if err := o.take(2, "connect", "password-query", "user-query", "list-query"); err != nil {
		return nil, err
	}
	return openDatabase("pgx", o["connect"], o, func(n int) string { return "$" + strconv.Itoa(n) })
}

func openSQLite(o options) (source, error) {
	if err := o.take(2, "file", "password-query", "user-query", "list-query"); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(o["file"], "/") {
		return nil, errors.New("the file must be an absolute path")
	}
	name := "file:" + (&url.URL{Path: o["file"]}).EscapedPath() + "?mode=ro&_pragma=busy_timeout(5000)&_pragma=query_only(1)"
	return openDatabase("sqlite", name, o, func(n int) string { return "?" + strconv.Itoa(n) })
}

func openDatabase(driver, name string, o options, placeholder func(int) string) (source, error) {
	d := &database{}
	for _, q := range []struct {
		to   *query
		name string
	}{{&d.password, "password-query"}, {&d.user, "user-query"}, {&d.listed, "list-query"}} {
		var err error
		if *q.to, err = parseQuery(o[q.name], placeholder); err != nil {
			return nil, fmt.Errorf("%s: %w", q.name, err)
		}
	}
	var err error
	if d.db, err = sql.Open(driver, name); err != nil {
		return nil, errors.New("cannot use the line that says how to connect") // the driver's error may quote it
	}
	d.db.SetMaxOpenConns(maxAsking)
	d.db.SetMaxIdleConns(2)
	return d, nil
}

// check compares the password with the hash in the first column of the first
// row.
func (d *database) check(ctx context.Context, user address.Address, password string) (bool, error) {
	var hash sql.NullString
	err := d.db.QueryRowContext(ctx, d.password.text, d.password.bind(user)...).Scan(&hash)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, fmt.Errorf("password-query: %w", err)
	}
	if hash.String == "" || passhash.IsFast(hash.String) {
		passhash.Dummy(password)
	}
	if hash.String == "" {
		return false, nil
	}
	ok, err := passhash.Verify(hash.String, password)
	if errors.Is(err, passhash.ErrPassword) {
		return false, nil
	}
	return ok, err
}

// find returns the columns of the first row by their names. Without a
// user-query an account exists if it has a row with a password.
func (d *database) find(ctx context.Context, user address.Address) (account, bool, error) {
	q, private := d.user, false
	if q.text == "" {
		q, private = d.password, true
	}
	rows, err := d.db.QueryContext(ctx, q.text, q.bind(user)...)
	if err != nil {
		return nil, false, fmt.Errorf("user-query: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, false, rows.Err()
	}
	if private {
		return account{}, true, nil
	}
	names, err := rows.Columns()
	if err != nil {
		return nil, false, err
	}
	values, to := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range values {
		to[i] = &values[i]
	}
	if err := rows.Scan(to...); err != nil {
		return nil, false, fmt.Errorf("user-query: %w", err)
	}
	a := make(account)
	for i, name := range names {
		if values[i].String != "" {
			a[name] = values[i].String
		}
	}
	return a, true, nil
}

func (d *database) list(ctx context.Context) ([]string, error) {
	if d.listed.text == "" {
		return nil, nil
	}
	if len(d.listed.values) > 0 {
		return nil, errors.New("list-query: it has no %u, %n or %d to take")
	}
	rows, err := d.db.QueryContext(ctx, d.listed.text)
	if err != nil {
		return nil, fmt.Errorf("list-query: %w", err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() && len(names) < maxNames {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("list-query: %w", err)
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

func (d *database) close() { d.db.Close() }
