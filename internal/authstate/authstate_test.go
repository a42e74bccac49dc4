package authstate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/internal/commit"
)

func TestCodesAreUsedOnce(t *testing.T) {
	dir := t.TempDir()
	for round := range 3 { // the second and third after a restart
		s := New(dir, new(commit.Disk))
		step := int64(100 + round)
		if last, err := s.LastStep("alice@example.org"); err != nil || round > 0 && last != step-1 {
			t.Fatalf("round %d: last step %d, %v", round, last, err)
		}
		if err := s.UseStep("alice@example.org", step); err != nil {
			t.Fatal(err)
		}
		for _, old := range []int64{step, step - 1, 1} {
			if err := s.UseStep("alice@example.org", old); !errors.Is(err, ErrUsed) {
				t.Errorf("round %d: step %d again: %v", round, old, err)
			}
		}
		if err := s.UseStep("bob@example.org", step); err != nil {
			t.Error(err)
		}
		hash := fmt.Sprint("{SSHA256}", round)
		if used, err := s.CodeUsed("alice@example.org", hash); used || err != nil {
			t.Errorf("an unused code: %v, %v", used, err)
		}
		if err := s.UseCode("alice@example.org", hash); err != nil {
			t.Error(err)
		}
		for old := range round + 1 {
			if err := s.UseCode("alice@example.org", fmt.Sprint("{SSHA256}", old)); !errors.Is(err, ErrUsed) {
				t.Errorf("round %d: code %d again: %v", round, old, err)
			}
		}
		s.Close()
		tear(t, filepath.Join(dir, codesFile))
	}
}

// tear ends a file in half a line, as a crash does.
func tear(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("alice@example.org step 999999"); err != nil {
		t.Fatal(err)
	}
}

// TestNothingIsUsedUnwritten holds that a code which cannot be remembered is
// not used up, and not good either.
func TestNothingIsUsedUnwritten(t *testing.T) {
	dir := t.TempDir()
	broken := errors.New("the disk")
	fail := false
	s := New(dir, &commit.Disk{Hook: func(step commit.Step, _ string) error {
		if fail && step == commit.StepSync {
			return broken
		}
		return nil
	}})
	defer s.Close()
	if err := s.UseStep("alice@example.org", 1); err != nil {
		t.Fatal(err)
	}
	fail = true
	if err := s.UseStep("alice@example.org", 2); !errors.Is(err, broken) {
		t.Errorf("a step on a broken disk: %v", err)
	}
	if err := New(filepath.Join(dir, "none"), new(commit.Disk)).UseStep("alice@example.org", 2); err == nil || errors.Is(err, ErrUsed) {
		t.Errorf("a step without a directory: %v", err)
	}
	if _, err := New(filepath.Join(dir, "none"), new(commit.Disk)).LastStep("alice@example.org"); err == nil {
		t.Error("without a directory every code seems new")
	}
}

func TestUses(t *testing.T) {
	dir := t.TempDir()
	s := New(dir, new(commit.Disk))
	begin := time.Unix(1e9, 0)
	for i := range 3000 {
		u := Use{begin.Add(time.Duration(i) * 40 * time.Second), "192.0.2.1", "imap"}
		if err := s.NoteUse("alice@example.org", "k1", u); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.NoteUse("alice@example.org", "k2", Use{begin, "", "smtp"}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	text, err := os.ReadFile(filepath.Join(dir, usesFile))
	if n := strings.Count(string(text), "\n"); err != nil || n > slack+10 {
		t.Errorf("the file has %d lines, %v: it is never shortened", n, err)
	}
	s = New(dir, new(commit.Disk))
	defer s.Close()
	if u, found, err := s.LastUse("alice@example.org", "k1"); err != nil || !found || !u.Time.Equal(begin.Add(2998*40*time.Second)) || u.Address != "192.0.2.1" || u.Service != "imap" {
		t.Errorf("last use = %v, %v, %v", u, found, err)
	}
	if u, found, err := s.LastUse("alice@example.org", "k2"); err != nil || !found || u.Address != "" || u.Service != "smtp" {
		t.Errorf("last use = %v, %v, %v", u, found, err)
	}
	if _, found, err := s.LastUse("alice@example.org", "k3"); found || err != nil {
		t.Errorf("never used: %v, %v", found, err)
	}
}

// FuzzLines holds that any file is read without a panic, and that what is
// written is read as the same.
func FuzzLines(f *testing.F) {
	f.Add("alice@example.org step 5\nalice@example.org code {SSHA256}x\nbob@example.org k1 2026-11-23T05:00:00Z 192.0.2.1 imap\nhalf")
	f.Fuzz(func(t *testing.T, text string) {
		s := New("", nil)
		s.codes.read([]byte(text))
		s.uses.read([]byte(text))
		for k, v := range s.codes.values {
			if k2, v2, ok := parseCode(formatCode(k, v)); !ok || k2 != k || v2 != v {
				t.Errorf("%v %v became %v %v", k, v, k2, v2)
			}
		}
		for k, v := range s.uses.values {
			if k2, v2, ok := parseUse(formatUse(k, v)); !ok || k2 != k || !v2.Time.Equal(v.Time.Truncate(time.Second)) {
				t.Errorf("%v %v became %v %v", k, v, k2, v2)
			}
		}
	})
}
