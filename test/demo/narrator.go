package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// A narrator tells the story, with the seconds since its start in the margin.
type narrator struct {
	out      io.Writer
	start    time.Time
	terminal bool
	colours  bool
	last     time.Time // of a countdown's last line
}

func newNarrator(out *os.File) *narrator {
	info, err := out.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	colours := terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return &narrator{out: out, start: time.Now(), terminal: terminal, colours: colours}
}

// step begins a part of the story.
func (n *narrator) step(format string, args ...any) {
	fmt.Fprintf(n.out, "\n%4.0fs  %s\n", time.Since(n.start).Seconds(), n.bold(fmt.Sprintf(format, args...)))
}

// say goes on with it.
func (n *narrator) say(format string, args ...any) { n.show("", fmt.Sprintf(format, args...)) }

// command shows a command and what it printed.
func (n *narrator) command(command, output string) {
	n.show("  ", n.bold("$ "+command))
	n.show("  ", output)
}

// show prints lines below the step.
func (n *narrator) show(indent, text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		fmt.Fprint(n.out, strings.TrimRight("       "+indent+strings.TrimRight(line, "\n"), " ")+"\n")
	}
}

// gap prints an empty line.
func (n *narrator) gap() { fmt.Fprintln(n.out) }

// countdown tells how long it is yet: on a terminal in one line, elsewhere in a line every ten seconds.
func (n *narrator) countdown(until time.Time, rest string) {
	left := max(time.Until(until), 0).Seconds()
	switch {
	case n.terminal && time.Since(n.last) >= 200*time.Millisecond:
		fmt.Fprintf(n.out, "\r\033[K       %3.0f s to go; %s", left, rest)
		n.last = time.Now()
	case !n.terminal && time.Since(n.last) >= 10*time.Second:
		n.say("%3.0f s to go; %s", left, rest)
		n.last = time.Now()
	}
}

// countdownOver takes the countdown's line away.
func (n *narrator) countdownOver() {
	if n.terminal && !n.last.IsZero() {
		fmt.Fprint(n.out, "\r\033[K")
	}
}

func (n *narrator) bold(text string) string  { return n.style("1", text) }
func (n *narrator) green(text string) string { return n.style("32", text) }

func (n *narrator) style(code, text string) string {
	if !n.colours || text == "" {
		return text
	}
	return "\033[" + code + "m" + text + "\033[0m"
}
