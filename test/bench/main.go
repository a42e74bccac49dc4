// Command bench measures Peyk side by side with other mail servers, in one
// run, the servers in turn (A B A B), so that ratios hold when the machine's
// speed drifts. It prints medians and, for each other server, the ratio.
//
//	bench -bin bin [-runs 3] [-row REGEXP] [-quick] [-messages N] [-large N] [-opensmtpd ROOT]
//	      [-courier ROOT] [-smtp] [-imap] [-pop3]
//
// Everything runs on the loopback address below one scratch directory.
package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// options say what is measured.
type options struct {
	bin       string
	courier   string // root below which it is unpacked; "" goes without
	opensmtpd string // root below which it is unpacked; "" goes without
	rows      *regexp.Regexp
	runs      int
	messages  int // in the mailbox that the IMAP rows read
	large     int // in the one that is only opened
	quick     bool
	smtp      bool
	imap      bool
	pop3      bool
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "directory of Peyk's programs")
	flag.IntVar(&o.runs, "runs", 3, "runs of each row")
	flag.StringVar(&o.opensmtpd, "opensmtpd", "", "root below which Debian's opensmtpd is unpacked")
	flag.StringVar(&o.courier, "courier", "", "root below which Debian's courier-imap and courier-pop are unpacked")
	flag.IntVar(&o.messages, "messages", 10000, "messages in the mailbox that the IMAP and POP3 rows read")
	flag.IntVar(&o.large, "large", 100000, "messages in the mailbox that is only opened")
	rows := flag.String("row", "", "only the rows whose names match this regular expression")
	flag.BoolVar(&o.quick, "quick", false, "one run of small rows, to see that it works; the figures mean nothing")
	smtpOnly := flag.Bool("smtp", false, "only the SMTP rows")
	imapOnly := flag.Bool("imap", false, "only the IMAP rows")
	popOnly := flag.Bool("pop3", false, "only the POP3 rows")
	flag.Parse()
	o.smtp, o.imap, o.pop3 = !*imapOnly && !*popOnly, !*smtpOnly && !*popOnly, !*smtpOnly && !*imapOnly
	if o.quick {
		o.runs, o.messages, o.large = 1, 1000, 2000
	}
	var err error
	if o.rows, err = regexp.Compile(*rows); err == nil {
		err = bench(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// smtpRows returns the SMTP rows that are wanted.
func (o options) smtpRows() []smtpRow {
	var rows []smtpRow
	for _, row := range smtpRows {
		if o.quick {
			row.messages = 50
		}
		if o.smtp && o.rows.MatchString(row.name) {
			rows = append(rows, row)
		}
	}
	return rows
}

// imapRows returns the IMAP rows that are wanted.
func (o options) imapRows() []imapRow {
	var rows []imapRow
	for _, row := range imapRows {
		if o.imap && o.rows.MatchString(row.name) {
			rows = append(rows, row)
		}
	}
	return rows
}

// popRows returns the POP3 rows that are wanted.
func (o options) popRows() []popRow {
	var rows []popRow
	for _, row := range popRows {
		if o.pop3 && o.rows.MatchString(row.name) {
			rows = append(rows, row)
		}
	}
	return rows
}

func bench(o options) error {
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "peyk-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	ours, err := startPeyk(bin, filepath.Join(dir, "peyk"), o.messages)
	if err != nil {
		return err
	}
	defer ours.stop()
	if err := benchReaders(ours, dir, o); err != nil {
		return err
	}
	if rows := o.smtpRows(); len(rows) > 0 {
		return benchSMTP(ours, dir, o, rows)
	}
	return nil
}

// smtpPeers starts the servers that can be had.
func smtpPeers(ours *peer, dir string, o options) []*peer {
	peers := []*peer{ours}
	add := func(name string, p *peer, err error) {
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: without %s: %v\n", name, err)
			return
		}
		peers = append(peers, p)
	}
	p, err := startPostfix(filepath.Join(dir, "postfix"), filepath.Join(dir, "peyk", "control", "certs", "default"))
	add("Postfix", p, err)
	if o.opensmtpd != "" {
		p, err := startOpenSMTPD(o.opensmtpd, filepath.Join(dir, "opensmtpd"))
		add("OpenSMTPD", p, err)
	}
	return peers
}

func benchSMTP(ours *peer, dir string, o options, rows []smtpRow) error {
	peers := smtpPeers(ours, dir, o)
	for _, p := range peers[1:] {
		defer p.stop()
	}
	fmt.Printf("%-20s %-16s", "row", "server")
	for _, column := range smtpColumns {
		fmt.Printf(" %10s", column)
	}
	fmt.Printf(" %6s\n", "lost")
	for _, row := range rows {
		if err := benchRow(peers, row, o.runs); err != nil {
			return err
		}
	}
	return nil
}

// benchRow measures one row and prints it. A server that cannot do it is left
// out, with its reason; if that is ours, it is an error.
func benchRow(peers []*peer, row smtpRow, runs int) error {
	peers = slices.DeleteFunc(slices.Clone(peers), func(p *peer) bool { return row.login && p.submission == "" })
	results := make([][]smtpResult, len(peers))
	failed := make([]error, len(peers))
	for run := range runs {
		for i, p := range peers {
			if failed[i] != nil {
				continue
			}
			r, err := runSMTP(p, row, run)
			failed[i] = err
			results[i] = append(results[i], r)
		}
	}
	if failed[0] != nil {
		return fmt.Errorf("%s: %w", row.name, failed[0])
	}
	first := medians(results[0])
	for i, p := range peers {
		if failed[i] != nil {
			fmt.Printf("%-20s %-16s fails: %v\n", "", p.name, failed[i])
			continue
		}
		name := row.name
		if i > 0 {
			name = ""
		}
		printSMTP(name, p.name, first, medians(results[i]), lost(results[i]))
	}
	return nil
}

func medians(results []smtpResult) (m [6]float64) {
	for i := range m {
		m[i] = median(results, func(r smtpResult) float64 { return r.columns[i] })
	}
	return m
}

func lost(results []smtpResult) int {
	n := 0
	for _, r := range results {
		n += r.lost
	}
	return n
}

// printSMTP prints the line of a server and, if it is not ours, one with the
// ratios of ours to it.
func printSMTP(row, server string, first, columns [6]float64, lost int) {
	line := func(name string, values [6]float64) {
		fmt.Printf("%-20s %-16s", row, name)
		for _, v := range values {
			fmt.Printf(" %10s", figure(v))
		}
	}
	line(server, columns)
	fmt.Printf(" %6d\n", lost)
	if server == "peyk" {
		return
	}
	var ratios [6]float64
	for i := range ratios {
		ratios[i] = first[i] / columns[i]
	}
	line("  peyk/"+server, ratios)
	fmt.Println()
}

// figure writes three digits, or more before the point.
func figure(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return ""
	case v >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func median[T any](all []T, f func(T) float64) float64 {
	values := make([]float64, len(all))
	for i, v := range all {
		values[i] = f(v)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
