package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/fetch"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/render"
	"github.com/gridlatch/gridlatch/plan"
)

type fetchFlags struct {
	provider   providerFlags
	span       spanFlags
	weather    weatherFlags
	isForecast bool
	file       string
	output     string
}

func newFetch(e env) *cobra.Command {
	f := &fetchFlags{}
	cmd := &cobra.Command{
		Use:   "fetch --provider NAME --zone ZONE",
		Short: "Fetch the past, the forecast or the weather of a zone",
		Long: `Fetch the past or the forecast of a zone from a provider, or its weather, and print CSV:

  timestamp,intensity         of the past, as simulate --actual reads it
  issued,timestamp,intensity  of the forecast as it is now, as simulate --forecast reads it
  issued,timestamp,wind_speed_10m,temperature_2m,shortwave_radiation
                              of the weather as it is expected now, as simulate --weather reads it
  issued,timestamp,wind_share,solar_share
                              of wind and sun as the operator of the grid expects them, and expected
                              them on the days before: shares of the load, for simulate --weather, too

A timestamp is the beginning of a slot, in UTC. The intensity is in gCO2eq/kWh. With
-o json, the output is the array of the carbon-intensity exporter, as plan reads it.

What the provider does not know is left out. The signal, the attribution that the
licence demands, and what is missing are printed to standard error. If only a part of
the past can be fetched, this part is printed, and the exit code is 3.

` + providerHelp,
		Example: `  # The last 90 days of Germany; and what would waiting have saved there?
  kubectl gridlatch fetch --provider energy-charts --zone DE --since 90d > DE.actual.csv
  kubectl gridlatch simulate --actual DE.actual.csv

  # A summer, into a file that is replaced once all is there
  kubectl gridlatch fetch --region eu-west-2 --since 2026-06-01 --until 2026-09-01 --file GB.actual.csv

  # The forecast as it is now, for a plan
  kubectl gridlatch fetch --provider uk-carbon-intensity --zone GB --forecast -o json | kubectl gridlatch plan -

  # The weather where the wind farms are; once a day, this makes a file for simulate --weather
  kubectl gridlatch fetch --weather met-norway --zone DE --provider energy-charts

  # What the operators expected of wind and sun; and what is that worth?
  kubectl gridlatch fetch --weather energy-charts --zone DE > DE.shares.csv
  kubectl gridlatch simulate --actual DE.actual.csv --weather DE.shares.csv

  # With a key
  ELECTRICITY_MAPS_TOKEN=$(pass show electricity-maps) kubectl gridlatch fetch --provider electricity-maps --zone DE
  kubectl gridlatch fetch --provider watttime --zone CAISO_NORTH --key-file watttime.txt`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), e, cmd.Flags()) },
	}
	cmd.Flags().SortFlags = false
	f.provider.bind(cmd)
	f.span.bind(cmd.Flags())
	cmd.Flags().StringVar(&f.weather.source, "weather", "", "fetch the weather from met-norway or open-meteo, or what energy-charts, energinet or elexon\nexpect of wind and sun, in place of the intensity")
	cmd.Flags().BoolVar(&f.weather.isNonCommercial, "non-commercial", false, "weather of open-meteo: your use is not commercial; otherwise GRIDLATCH_KEY has your key")
	cmd.Flags().StringVar(&f.weather.points, "points", "", "weather: where it counts, as LATITUDE,LONGITUDE;… (default: a table of the zones)")
	cmd.Flags().BoolVar(&f.isForecast, "forecast", false, "fetch the forecast as it is now, in place of the past")
	cmd.Flags().StringVar(&f.file, "file", "", "write into this file, in place of standard output")
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "json; CSV if not given")
	_ = cmd.MarkFlagFilename("file", "csv", "json") // the flag exists
	return cmd
}

func (f *fetchFlags) run(ctx context.Context, e env, set *pflag.FlagSet) error {
	if f.output != "" && f.output != "json" {
		return wrong("output", f.output, errors.New("want json, or nothing for CSV; --file names a file"))
	}
	if f.weather.source != "" {
		return f.runWeather(ctx, e)
	}
	for _, flag := range f.span.names() {
		if f.isForecast && set.Changed(flag) {
			return usageError{fmt.Errorf("--%s is for the past: want it without --forecast", flag)}
		}
	}
	zone, err := f.provider.open(e, e.now)
	if err != nil {
		return err
	}
	data, err := f.fetch(ctx, e, zone)
	if err != nil {
		return f.provider.explain(err, zone)
	}
	if err := f.write(e, data); err != nil {
		return err
	}
	e.stderr.Printf("%s: %s from %s to %s\n", data.Name(), render.Count(len(data.Series.Slots()), "value"),
		plan.FormatTime(data.Series.Start()), plan.FormatTime(data.Series.End()))
	if text := data.Description.Attribution; text != "" {
		e.stderr.Printf("%s\n", text)
	}
	e.warn(data.Remarks())
	if data.Incomplete != nil {
		return partialError("only a part was fetched")
	}
	return nil
}

// write writes the values, all of them or none.
func (f *fetchFlags) write(e env, data fetch.Data) error {
	write := func(w *screen.Screen) error { return data.WriteCSV(w) }
	if f.output == "json" {
		write = func(w *screen.Screen) error { return w.JSON(data.Published()) }
	}
	if f.file == "" {
		return write(e.stdout)
	}
	return writeFile(f.file, func(w io.Writer) error {
		out := screen.New(w, false)
		return cmp.Or(write(out), out.Err())
	})
}

// fetch fetches the past or the forecast.
func (f *fetchFlags) fetch(ctx context.Context, e env, zone fetch.Zone) (fetch.Data, error) {
	if f.isForecast {
		return zone.Forecast(ctx, e.now().UTC().Truncate(time.Second))
	}
	return f.span.fetch(ctx, e, zone)
}

// fetch fetches the past of a zone, and shows how far it is.
func (f *spanFlags) fetch(ctx context.Context, e env, zone fetch.Zone) (fetch.Data, error) {
	from, to, err := f.read(e.now())
	if err != nil {
		return fetch.Data{}, err
	}
	progress := e.progress("fetching")
	defer progress.End()
	return zone.Past(ctx, from, to, telling(progress, zone))
}
