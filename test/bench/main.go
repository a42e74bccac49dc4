// Command bench measures Peyk side by side with other mail servers, in one
// run, the servers in turn (A B A B), so that ratios hold when the machine's
// speed drifts. It prints medians and, for each other server, the ratio.
//
//	bench -bin bin [-runs 3] [-opensmtpd ROOT] [-smtp] [-imap]
//
// Everything runs on the loopback address below one scratch directory.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

var smtpRows = []smtpRow{
	{"4 KB, 1 session", 1, 600, 4096},
	{"4 KB, 10 sessions", 10, 2000, 4096},
	{"4 KB, 50 sessions", 50, 3000, 4096},
}

func main() {
	bin := flag.String("bin", "bin", "directory of Peyk's programs")
	runs := flag.Int("runs", 3, "runs of each row")
	opensmtpd := flag.String("opensmtpd", "", "root below which Debian's opensmtpd is unpacked")
	smtpOnly := flag.Bool("smtp", false, "only the SMTP rows")
	imapOnly := flag.Bool("imap", false, "only the IMAP rows")
	flag.Parse()
	if err := bench(*bin, *opensmtpd, *runs, !*imapOnly, !*smtpOnly); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(bin, opensmtpd string, runs int, smtp, imap bool) error {
	bin, err := filepath.Abs(bin)
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
	ours, err := startPeyk(bin, filepath.Join(dir, "peyk"))
	if err != nil {
		return err
	}
	defer ours.stop()
	if smtp {
		if err := benchSMTP(ours, dir, opensmtpd, runs); err != nil {
			return err
		}
	}
	if imap {
		return benchIMAP(ours, dir, runs)
	}
	return nil
}

func benchSMTP(ours *peer, dir, opensmtpd string, runs int) error {
	peers := []*peer{ours}
	if p, err := startPostfix(filepath.Join(dir, "postfix")); err == nil {
		defer p.stop()
		peers = append(peers, p)
	} else {
		fmt.Fprintln(os.Stderr, "bench: without Postfix:", err)
	}
	if opensmtpd != "" {
		if p, err := startOpenSMTPD(opensmtpd, filepath.Join(dir, "opensmtpd")); err == nil {
			defer p.stop()
			peers = append(peers, p)
		} else {
			fmt.Fprintln(os.Stderr, "bench: without OpenSMTPD:", err)
		}
	}
	fmt.Printf("%-20s %-10s %12s %12s %10s %10s %6s\n", "row", "server", "delivered/s", "CPU s/1000", "p50 ms", "p99 ms", "lost")
	for _, row := range smtpRows {
		results := make([][]smtpResult, len(peers))
		for run := range runs {
			for i, p := range peers {
				r, err := runSMTP(p, row, run)
				if err != nil {
					return fmt.Errorf("%s: %s: %w", row.name, p.name, err)
				}
				results[i] = append(results[i], r)
			}
		}
		printSMTP(row, peers, results)
	}
	return nil
}

func printSMTP(row smtpRow, peers []*peer, results [][]smtpResult) {
	var first [2]float64
	for i, p := range peers {
		get := func(f func(smtpResult) float64) float64 { return median(results[i], f) }
		rate, cpu := get(func(r smtpResult) float64 { return r.delivered }), get(func(r smtpResult) float64 { return r.cpu })
		lost := 0
		for _, r := range results[i] {
			lost += r.lost
		}
		fmt.Printf("%-20s %-10s %12.0f %12.2f %10.2f %10.2f %6d", row.name, p.name, rate, cpu,
			get(func(r smtpResult) float64 { return r.p50 }), get(func(r smtpResult) float64 { return r.p99 }), lost)
		if i == 0 {
			first = [2]float64{rate, cpu}
			fmt.Println()
			continue
		}
		fmt.Printf("   peyk/%s: %.2f × the rate, %.2f × the CPU\n", p.name, first[0]/rate, first[1]/cpu)
	}
}

func median[T any](all []T, f func(T) float64) float64 {
	values := make([]float64, len(all))
	for i, v := range all {
		values[i] = f(v)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func benchIMAP(ours *peer, dir string, runs int) error {
	theirs, err := startDovecot(filepath.Join(dir, "dovecot"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: without Dovecot:", err)
		return nil
	}
	defer theirs.stop()
	var times [2][][]float64
	for range runs {
		for i, p := range []*peer{ours, theirs} {
			t, err := runIMAP(p)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			times[i] = append(times[i], t)
		}
	}
	fmt.Printf("\n%-24s %10s %10s %10s   (%d messages of 4 KB, ms; peyk over TLS, Dovecot in clear)\n", "row", "peyk", "dovecot", "ratio", mailboxSize)
	for n, row := range imapRows {
		get := func(i int) float64 { return median(times[i], func(t []float64) float64 { return t[n] }) }
		fmt.Printf("%-24s %10.1f %10.1f %10.2f\n", row.name, get(0), get(1), get(0)/get(1))
	}
	return nil
}
