package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// benchReaders measures reading mail: by IMAP, then by POP3.
func benchReaders(ours *peer, dir string, o options) error {
	rows, pop := o.imapRows(), o.popRows()
	if len(rows)+len(pop) == 0 {
		return nil
	}
	peers := readers(ours, dir, o)
	for _, p := range peers[1:] {
		defer p.stop()
	}
	for _, p := range peers {
		p.large = o.large
	}
	if err := benchRows(rows, peers, o, runIMAP); err != nil {
		return err
	}
	return benchRows(pop, peers, o, runPOP3)
}

// readers starts the servers that mail is read from.
func readers(ours *peer, dir string, o options) []*peer {
	peers := []*peer{ours}
	add := func(name string, p *peer, err error) {
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: without %s: %v\n", name, err)
			return
		}
		peers = append(peers, p)
	}
	p, err := startDovecot(filepath.Join(dir, "dovecot"), filepath.Join(dir, "peyk", "control", "certs", "default"), o.messages)
	add("Dovecot", p, err)
	if o.courier != "" {
		p, err := startCourier(o.courier, filepath.Join(dir, "courier"), o.messages)
		add("Courier", p, err)
	}
	return peers
}

// benchRows takes each row of each server in turn, and prints the table. A
// server that fails in a row is left out of the table, if it is not ours.
func benchRows[T any](rows []row[T], peers []*peer, o options, run func(p *peer, r row[T], quick bool) (result, error)) error {
	if len(rows) == 0 {
		return nil
	}
	printHead(peers, o.messages)
	for _, r := range rows {
		results := make([][]result, len(peers))
		for range o.runs {
			for i, p := range peers {
				one, err := run(p, r, o.quick)
				if err != nil && i == 0 {
					return fmt.Errorf("%s: %w", r.name, err)
				}
				if err != nil {
					fmt.Fprintf(os.Stderr, "bench: %s: %s: %v\n", r.name, p.name, err)
					one = failed
				}
				results[i] = append(results[i], one)
			}
		}
		printRow(r.goal, results)
	}
	fmt.Println()
	return nil
}

// A goal names a figure. "/s" and "MB/s" are better high, "ms" and "KB" low.
// Floor and target are ratios to Dovecot's figure; 0 is none.
type goal struct {
	name, unit    string
	floor, target float64
}

// A row is a figure and how to measure it over a connection of type T.
type row[T any] struct {
	goal
	measure func(c T) (float64, error)
}

// result is what one run of a row measured: its value, and for the whole row,
// with what prepares and undoes it, the flushes of the disks and the
// milliseconds of CPU of the server.
type result struct{ value, flushes, cpu float64 }

// failed stands for a figure that a server does not have.
var failed = result{math.NaN(), math.NaN(), math.NaN()}

func printHead(peers []*peer, messages int) {
	fmt.Printf("%-24s %-4s", fmt.Sprintf("%d messages", messages), "unit")
	for _, p := range peers {
		fmt.Printf(" %9s %8s %7s", p.name, "cpu ms", "flushes")
	}
	fmt.Printf(" %7s %7s %7s %7s\n", "ratio", "cpu", "floor", "target")
}

func printRow(g goal, results [][]result) {
	fmt.Printf("%-24s %-4s", g.name, g.unit)
	m := make([]result, len(results))
	for i, all := range results {
		m[i] = result{median(all, func(r result) float64 { return r.value }),
			median(all, func(r result) float64 { return r.flushes }), median(all, func(r result) float64 { return r.cpu })}
		fmt.Printf(" %9s %8s %7.0f", figure(m[i].value), figure(m[i].cpu), m[i].flushes)
	}
	if len(m) > 1 {
		ratio := m[0].value / m[1].value
		fmt.Printf(" %7s %7s %7s %7s %s", figure(ratio), figure(m[0].cpu/m[1].cpu), figure(g.floor), figure(g.target), g.verdict(ratio))
	}
	fmt.Println()
}

// verdict says what a ratio to Dovecot reaches.
func (g goal) verdict(ratio float64) string {
	floor, target := g.floor, g.target
	if strings.HasSuffix(g.unit, "/s") {
		ratio, floor, target = 1/ratio, 1/floor, 1/target
	}
	switch {
	case g.floor == 0:
		return "" // a figure without a goal
	case !(ratio <= floor):
		return "BELOW"
	case g.target != 0 && ratio <= target:
		return "target"
	}
	return "floor"
}
