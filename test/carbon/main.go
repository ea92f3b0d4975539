// Command carbon measures what Gridlatch saves on real grids, by the back-test of package
// plan/backtest: what users get from `kubectl gridlatch simulate`.
//
//	go run ./test/carbon [-traces DIR]
//
// DIR has REGION.actual.csv (timestamp,intensity) and REGION.forecast.csv
// (issued,timestamp,intensity) of one or more regions. A region may have REGION.weather.csv
// (issued,timestamp,wind_speed_10m,temperature_2m,shortwave_radiation), which is taken as received six
// hours after its time of issue. Without the flag, DIR is the value of
// GRIDLATCH_TRACES or else the forty days of one grid that the repository ships. Jobs of 1, 4 and
// 12 hours with a slack of 6, 12, 24 and 48 hours arrive every 3 hours from the 15th day of the
// forecasts on. A saving is measured against starting at once. It is the mean over the regions and
// these twelve cells. A share is the share of what the cleanest windows, known in hindsight, save.
// Jobs that can be paused run for 4 and 12 hours, and their share is the share of what the cleanest runs
// save.
//
// Every figure is a table and a line "figure NAME VALUE UNIT" on stdout. Nothing is asserted: each
// figure is printed beside its target, which is meant for half a year of six grids.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// shipped is the folder of the grid that the repository ships, seen from the repository's root.
const shipped = "forecast/testdata/traces"

// run returns the exit code: 0 if all went well, 1 if not, 2 if the arguments are wrong.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("carbon", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("traces", cmp.Or(os.Getenv("GRIDLATCH_TRACES"), shipped),
		"`folder` with REGION.actual.csv and REGION.forecast.csv; the default is $GRIDLATCH_TRACES, or else one grid that the repository ships")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "carbon: unknown argument %q: see -help\n", flags.Arg(0))
		return 2
	}
	regions, err := load(*dir)
	if err != nil {
		fmt.Fprintln(stderr, "carbon:", err)
		return 1
	}
	if len(regions) == 0 {
		fmt.Fprintf(stderr, "carbon: %q has no REGION.actual.csv with its REGION.forecast.csv: name another folder with -traces\n", *dir)
		return 1
	}
	if err := measure(ctx, regions, stdout); err != nil {
		fmt.Fprintln(stderr, "carbon:", err)
		return 1
	}
	return 0
}
