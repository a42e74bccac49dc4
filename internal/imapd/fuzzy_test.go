package imapd

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"peyk/internal/casemap"
)

// TestFuzzyIsTheSameWithAnIndex: the index says which messages are read, not
// which match.
func TestFuzzyIsTheSameWithAnIndex(t *testing.T) {
	o := newIndexed(t, mixed, "Subject: brown fox\n\nthe quick dog\n", "Subject: a tale of foxes\n\nbrwon\ncow breakfast\n", "Subject: nothing\n\nbraekfast\n",
		"Subject: x\n\nbreakxfast\n", "Subject: y\n\nbreafkast\n", "Subject: z\n\nbrekfast brakefast\n", "Subject: long\n\n"+strings.Repeat("lorem ipsum ", 60_000)+"breakfasts\n")
	keys := []string{"FUZZY TEXT breakfast", "FUZZY BODY \"cow brown\"", "NOT FUZZY TEXT breakfast", "OR FUZZY TEXT foxs FUZZY BODY dgo", "FUZZY TEXT \"\"", "FUZZY TEXT br",
		"FUZZY (TEXT quick SUBJECT borwn)", "FUZZY BODY grosse TEXT quick", "FUZZY TEXT grosse", "FUZZY TEXT fo"}
	o.TextIndex = false
	plain := answers(o, keys...)
	want := []string{"* SEARCH 3 4 5 6 7 8", "* SEARCH 3", "* SEARCH 1 2", "* SEARCH 2 3", "* SEARCH 1 2 3 4 5 6 7 8", "* SEARCH 2 3 4 5 6 7 8", "* SEARCH 2", "* SEARCH", "* SEARCH 1", "* SEARCH 1 2 3"}
	if !slices.Equal(plain, want) {
		t.Errorf("without the index:\n%q, want\n%q", plain, want)
	}
	o.TextIndex = true
	for range 2 {
		if got := answers(o, keys...); !slices.Equal(got, plain) {
			t.Errorf("with the index:\n%q, without it\n%q", got, plain)
		}
		fillNow(t, o)
	}
}

// FuzzFuzzy compares words with a slow measure of how far they are apart, and
// looks that the index is asked for no more than what the word has.
func FuzzFuzzy(f *testing.F) {
	for _, seed := range [][2]string{{"break", "braek"}, {"سلام", "سلم"}, {"work", "word"}, {"a b", "b"}, {"日本語", "日本"}, {"grosse", "Größe"}, {"aaaa", "aaa"}, {"abab", "baba"}, {"12345", "1234"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, looked, text string) {
		if len(looked) > 60 || len(text) > 60 {
			return
		}
		looked, text = casemap.Fold(looked), casemap.Fold(text)
		key := newFuzzyText(looked)
		if key == nil {
			return
		}
		var words []string
		var w wordSplitter
		w.split([]byte(text), true, func(word []byte) { words = append(words, string(word)); key.add(word) })
		all := true
		for _, k := range key.words {
			one := false
			for _, word := range words {
				fits := strings.Contains(word, string(k.text)) || k.letters > 0 && nearModel([]rune(string(k.text)), []rune(word))
				if got := k.fit([]byte(word)) > 0; got != fits {
					t.Fatalf("%q fits %q: %v, want %v", word, k.text, got, fits)
				}
				if fits && !slices.ContainsFunc(k.alternatives(), func(a string) bool { return strings.Contains(word, a) }) {
					t.Fatalf("%q fits %q, but the index would not know by %q", word, k.text, k.alternatives())
				}
				one = one || fits
			}
			all = all && one
		}
		if score := key.score(); (score > 0) != all || score > bestScore {
			t.Fatalf("%q in %q: %d, all words: %v", looked, text, score, all)
		}
		var again wordSplitter // in pieces
		var pieces []string
		for i := range len(text) {
			if n := len(text) - i; n > 0 && text[i] < 0x80 {
				again.split([]byte(text[:i]), false, func(word []byte) { pieces = append(pieces, string(word)) })
				again.split([]byte(text[i:]), true, func(word []byte) { pieces = append(pieces, string(word)) })
				break
			}
		}
		if pieces != nil && !slices.Equal(pieces, words) {
			t.Fatalf("%q is %q, in pieces %q", text, words, pieces)
		}
	})
}

// nearModel: one letter more or less, two that changed places, or, from five
// letters on, another one.
func nearModel(a, b []rune) bool {
	for i := range a {
		if slices.Equal(slices.Delete(slices.Clone(a), i, i+1), b) {
			return true
		}
		if i > 0 {
			c := slices.Clone(a)
			c[i-1], c[i] = c[i], c[i-1]
			if slices.Equal(c, b) {
				return true
			}
		}
		if len(a) == len(b) && len(a) >= changeFrom && slices.Equal(a[:i], b[:i]) && slices.Equal(a[i+1:], b[i+1:]) {
			return true
		}
	}
	for i := range b {
		if slices.Equal(slices.Delete(slices.Clone(b), i, i+1), a) {
			return true
		}
	}
	return false
}

func BenchmarkFuzzyWords(b *testing.B) {
	text := bytes.Repeat([]byte("LOREM IPSUM DOLOR SIT AMET, CONSECTETUR ADIPISCING ELIT "), 1000)
	key := newFuzzyText("breakfast tomorrow")
	var w wordSplitter
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		w.split(text, true, key.add)
	}
}
