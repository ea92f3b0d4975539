// Package screen prints text of strangers without letting a stranger control the terminal. Whoever
// may create a pod chooses the name and the annotations of the pod, and so what an error says.
//
// A [Screen] takes a format, which is ours, and arguments, which can be anybody's. Only printable
// characters of the arguments are printed as they are (unicode.IsPrint). All others are printed as
// Go spells them in a literal: escape sequences; line breaks and tabs, which forge lines and
// columns; characters that cannot be seen or turn the direction of text; and bytes that are not
// UTF-8. Package printers of k8s.io/cli-runtime replaces only ESC and CR.
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
	// maxValue is how many characters of a value are shown: a dozen lines of a terminal.
	maxValue = 1000
	// maxCell is how many characters of a cell are shown: the column is as wide in each row.
	maxCell = 80
	// maxErrorValues is how many values an error can hold.
	maxErrorValues = 4
)

// Style is how the text after it is shown on a screen with colours.
type Style int

// The styles.
const (
	Plain Style = iota
	Bold
	Green
)

// Screen prints for people. After the first error it prints nothing more. Several goroutines can
// use a Screen.
type Screen struct {
	color bool

	mu  sync.Mutex
	out io.Writer
	err error
}

// New returns a Screen that prints to a writer, with or without colours.
func New(out io.Writer, color bool) *Screen { return &Screen{out: out, color: color} }

// literal is a constant of a program: no other package can convert a text that it has read.
type literal string

// Printf prints by a format that is part of the program. Arguments are shown as [Clean] shows them,
// and an error in one line.
func (s *Screen) Printf(format literal, args ...any) {
	s.write(fmt.Appendf(nil, string(format), s.shown(args, maxValue)...))
}

// Write prints the text of a library, with the line breaks and tabs of the library.
func (s *Screen) Write(text []byte) (int, error) {
	s.write([]byte(visible(string(text), "\n\t", len(text))))
	return len(text), s.Err()
}

// Lines returns a writer that prints each call of Write as one line.
func (s *Screen) Lines() io.Writer { return lines{s} }

type lines struct{ *Screen }

// Write prints a line.
func (l lines) Write(text []byte) (int, error) {
	l.Printf("%s\n", bytes.TrimSuffix(text, []byte("\n")))
	return len(text), l.Err()
}

// Raw returns the writer below, for a library that moves the cursor. Text of a stranger must not be
// written there.
func (s *Screen) Raw() io.Writer { return s.out }

// Err returns why something could not be printed, nil if everything was printed.
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

// shown replaces arguments by what may be shown of each: at most so many characters.
func (s *Screen) shown(args []any, maxCharacters int) []any {
	all := make([]any, len(args))
	for i, arg := range args {
		switch arg := arg.(type) {
		case bool, int, float64:
			all[i] = arg
		case Style:
			all[i] = s.sequence(arg)
		case error: // several errors are joined by line breaks
			all[i] = visible(strings.ReplaceAll(arg.Error(), "\n", "; "), "", maxErrorValues*maxCharacters)
		case []byte:
			all[i] = visible(string(arg), "", maxCharacters)
		default:
			all[i] = visible(fmt.Sprint(arg), "", maxCharacters)
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

// Clean returns what may be shown of a text: printable characters as they are, and others as Go
// spells them. A very long text is cut.
func Clean(text string) string { return visible(text, "", maxValue) }

// visible returns what may be shown of a text: also the characters to keep, and at most so many.
func visible(text, keep string, maxCharacters int) string {
	var out strings.Builder
	shown := 0
	for i := 0; i < len(text); shown++ {
		if shown >= maxCharacters {
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

// Table aligns columns. It is printed by Flush.
type Table struct {
	screen *Screen
	cells  *tabwriter.Writer
}

// Table returns an empty table with so many spaces between its columns.
func (s *Screen) Table(spaces int) *Table {
	raw := writerFunc(func(text []byte) (int, error) {
		s.write(text)
		return len(text), s.Err()
	})
	return &Table{screen: s, cells: tabwriter.NewWriter(raw, 0, 8, spaces, ' ', 0)}
}

// Row adds a row. Cells are shown as [Clean] shows them; all but the last are cut shorter.
func (t *Table) Row(cells ...any) {
	last := max(len(cells)-1, 0)
	for _, cell := range t.screen.shown(cells[:last], maxCell) {
		_, _ = fmt.Fprintf(t.cells, "%v\t", cell) // the screen remembers the error
	}
	_, _ = fmt.Fprintln(t.cells, t.screen.shown(cells[last:], maxValue)...) // likewise
}

// Flush prints the table.
func (t *Table) Flush() { _ = t.cells.Flush() } // likewise

type writerFunc func([]byte) (int, error)

// Write calls the function.
func (f writerFunc) Write(text []byte) (int, error) { return f(text) }
