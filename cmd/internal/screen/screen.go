// Package screen prints text that strangers wrote, and lets none of them write to the terminal: whoever may create a pod
// chooses its name, its annotations and what an error says of it.
//
// A Screen takes a format, which is ours, and arguments, which are anybody's. Of the arguments only printable characters
// get through (unicode.IsPrint). All others are shown as Go spells them in a literal: escape sequences, line breaks and
// tabs, which forge lines and columns, characters that turn the direction of text or cannot be seen, and bytes that are
// no UTF-8. Package printers of k8s.io/cli-runtime replaces ESC and CR only.
package screen

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"
)

const (
	// longest is how many characters of a value are shown: a dozen lines of a terminal.
	longest = 1000
	// widest is how many are shown in a column, which is as wide in every row.
	widest = 80
)

// A Style is how text is shown from there on, where the screen has colours.
type Style int

// The styles that there are.
const (
	Plain Style = iota
	Bold
	Green
)

// A Screen prints for people. It remembers the first error, after which it prints nothing more. It may be used by
// several goroutines.
type Screen struct {
	color bool

	mu  sync.Mutex
	out io.Writer
	err error
}

// New returns a Screen that prints to a writer, with colours or without.
func New(out io.Writer, color bool) *Screen { return &Screen{out: out, color: color} }

// A literal is an untyped constant: no other package can make one of a text that it has read.
type literal string

// Printf prints by a format that stands in the source. Arguments are shown as Clean shows them, and an error in one line.
func (s *Screen) Printf(format literal, args ...any) {
	s.write(fmt.Appendf(nil, string(format), s.shown(args, longest)...))
}

// Write shows what a library prints, which breaks lines and sets tabs by itself.
func (s *Screen) Write(text []byte) (int, error) {
	s.write([]byte(visible(string(text), "\n\t", len(text))))
	return len(text), s.Err()
}

// Lines returns a writer that shows all that is written to it at once in one line.
func (s *Screen) Lines() io.Writer { return lines{s} }

type lines struct{ *Screen }

// Write prints a line.
func (l lines) Write(text []byte) (int, error) {
	l.Printf("%s\n", bytes.TrimSuffix(text, []byte("\n")))
	return len(text), l.Err()
}

// Raw returns the writer itself, for a library that moves the cursor: no text of a stranger may be written to it.
func (s *Screen) Raw() io.Writer { return s.out }

// Err returns why something could not be printed, nil if all was.
func (s *Screen) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *Screen) write(text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		_, s.err = s.out.Write(text)
	}
}

// shown replaces arguments by what may be shown of them, up to some characters of each.
func (s *Screen) shown(args []any, most int) []any {
	all := make([]any, len(args))
	for i, arg := range args {
		switch arg := arg.(type) {
		case bool, int, float64:
			all[i] = arg
		case Style:
			all[i] = s.sequence(arg)
		case error: // it may be several, joined by line breaks
			all[i] = visible(strings.ReplaceAll(arg.Error(), "\n", "; "), "", 4*most)
		case []byte:
			all[i] = visible(string(arg), "", most)
		default:
			all[i] = visible(fmt.Sprint(arg), "", most)
		}
	}
	return all
}

func (s *Screen) sequence(style Style) string {
	if !s.color {
		return ""
	}
	switch style {
	case Bold:
		return "\x1b[1m"
	case Green:
		return "\x1b[32m"
	default:
		return "\x1b[0m"
	}
}

// Clean returns what may be shown of a text: printable characters, and others as Go spells them. What is very long is cut.
func Clean(text string) string { return visible(text, "", longest) }

// visible also lets some characters through that are not printable, and cuts after some that are shown.
func visible(text, keep string, most int) string {
	var out strings.Builder
	shown := 0
	for i := 0; i < len(text); shown++ {
		if shown >= most {
			return fmt.Sprintf("%s… (%d characters more)", out.String(), utf8.RuneCountInString(text[i:]))
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, `\x%02x`, text[i])
		case unicode.IsPrint(r) || strings.ContainsRune(keep, r):
			out.WriteRune(r)
		default:
			out.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
		i += size
	}
	return out.String()
}

// A Table aligns columns. It is printed when it is flushed.
type Table struct {
	screen *Screen
	cells  *tabwriter.Writer
}

// Table begins a table whose columns are some spaces apart.
func (s *Screen) Table(apart int) *Table {
	raw := writerFunc(func(text []byte) (int, error) {
		s.write(text)
		return len(text), s.Err()
	})
	return &Table{screen: s, cells: tabwriter.NewWriter(raw, 0, 8, apart, ' ', 0)}
}

// Row adds a row. Cells are shown as Clean shows them, all but the last in narrow columns.
func (t *Table) Row(cells ...any) {
	last := max(len(cells)-1, 0)
	for _, cell := range t.screen.shown(cells[:last], widest) {
		_, _ = fmt.Fprintf(t.cells, "%v\t", cell) // the screen remembers the error
	}
	_, _ = fmt.Fprintln(t.cells, t.screen.shown(cells[last:], longest)...) // likewise
}

// Flush prints the table.
func (t *Table) Flush() { _ = t.cells.Flush() } // likewise

type writerFunc func([]byte) (int, error)

// Write calls the function.
func (f writerFunc) Write(text []byte) (int, error) { return f(text) }
