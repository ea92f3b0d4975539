// Command load measures on a real API server what Gridlatch costs those who do not use it, and how fast it is for those
// who do. Run it from anywhere in the source tree, with bin/gridlatch and bin/gridlatch-cluster built:
//
//	go run ./test/load [-figures a,b]
//
// Every figure is one line on stdout, "figure NAME VALUE UNIT"; what is going on is told on stderr. Nothing is asserted:
// the lines are for comparing one run with another. What compares two sides measures them in turn in the same run, so
// that a slow machine is slow for both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

func main() {
	log.SetFlags(log.Ltime)
	ctrllog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit code: 0 if all went well, 1 if not, 2 if it was called wrongly.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { usage(flags) }
	names := flags.String("figures", "", "measure only these, separated by commas")
	list := flags.Bool("list", false, "print the names of the figures, and measure nothing")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "load: unknown argument %q: see -help\n", flags.Arg(0))
		return 2
	case *list:
		fmt.Fprintln(stdout, strings.Join(known(), "\n"))
		return 0
	}
	wanted, err := choose(*names)
	if err != nil {
		fmt.Fprintln(stderr, "load:", err)
		return 2
	}
	if err := measure(ctx, wanted, stdout); err != nil {
		fmt.Fprintln(stderr, "load:", err)
		return 1
	}
	return 0
}

func usage(flags *flag.FlagSet) {
	out := flags.Output()
	fmt.Fprint(out, "Measures Gridlatch on a real API server. A figure is a line on stdout: figure NAME VALUE UNIT\n\n"+
		"Usage: go run ./test/load [flags]\n\nFlags:\n")
	flags.PrintDefaults()
	fmt.Fprintln(out, "\nFigures:")
	for _, m := range measurements() {
		for _, f := range m.figures {
			fmt.Fprintf(out, "  %s (%s, target %s)\n    \t%s\n", f.name, f.unit, f.target, f.help)
		}
	}
}

// known returns the names of all figures.
func known() []string {
	var names []string
	for _, m := range measurements() {
		for _, f := range m.figures {
			names = append(names, f.name)
		}
	}
	return names
}

// choose reads a list of names; empty is all.
func choose(names string) ([]string, error) {
	if strings.TrimSpace(names) == "" {
		return known(), nil
	}
	var wanted []string
	for name := range strings.SplitSeq(names, ",") {
		name = strings.TrimSpace(name)
		if !slices.Contains(known(), name) {
			return nil, fmt.Errorf("unknown figure %q; the figures are: %s", name, strings.Join(known(), ", "))
		}
		wanted = append(wanted, name)
	}
	return wanted, nil
}

// measure makes the measurements that have a wanted figure, and prints those figures. One that fails does not keep the
// others from being made.
func measure(ctx context.Context, wanted []string, stdout io.Writer) error {
	var failed []error
	for _, m := range measurements() {
		if !slices.ContainsFunc(m.figures, func(f figure) bool { return slices.Contains(wanted, f.name) }) {
			continue
		}
		if ctx.Err() != nil {
			return errors.Join(append(failed, ctx.Err())...)
		}
		values, err := m.run(ctx)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", m.figures[0].name, err))
			continue
		}
		for i, f := range m.figures {
			if slices.Contains(wanted, f.name) {
				fmt.Fprintf(stdout, "figure %s %.3f %s\n", f.name, values[i], f.unit)
			}
		}
	}
	return errors.Join(failed...)
}
