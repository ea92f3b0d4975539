package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

const (
	hour = time.Hour
	day  = 24 * hour

	arrivalSpacing = 3 * hour
	history        = 28 * day
	// workers is the number of regions that are replayed at the same time.
	workers = 2
)

var (
	durations = []time.Duration{1 * hour, 4 * hour, 12 * hour}
	slacks    = []time.Duration{6 * hour, 12 * hour, 24 * hour, 48 * hour}
	// production has the terms of a policy that sets none.
	production = plan.Terms{WaitPrice: 0.001, MinGain: 0.01, Caution: caution}

	gridlatch = backtest.Policy{Kind: backtest.Gridlatch}
	immediate = backtest.Policy{Kind: backtest.Immediate}
	oracle    = backtest.Policy{Kind: backtest.Oracle}
	greedy    = backtest.Policy{Kind: backtest.Greedy}
	foresight = backtest.Policy{Kind: backtest.Foresight}
)

// A region is a grid with its forecasts, and with those of its weather if there are any.
type region struct {
	name      string
	actuals   backtest.Actuals
	documents []backtest.Document
	weather   []backtest.WeatherIssue
}

// load reads all regions of a folder, by name.
func load(dir string) ([]region, error) {
	actuals, err := filepath.Glob(filepath.Join(dir, "*.actual.csv"))
	if err != nil {
		return nil, err
	}
	slices.Sort(actuals)
	var regions []region
	for _, path := range actuals {
		stem := strings.TrimSuffix(path, ".actual.csv")
		if _, err := os.Stat(stem + ".forecast.csv"); err != nil {
			continue
		}
		r := region{name: filepath.Base(stem)}
		if r.actuals, err = read(path, backtest.ReadActuals); err != nil {
			return nil, err
		}
		forecasts, err := read(stem+".forecast.csv", backtest.ReadForecasts)
		if err != nil {
			return nil, err
		}
		r.documents = forecasts.Documents
		if _, err := os.Stat(stem + ".weather.csv"); err == nil {
			weather, err := read(stem+".weather.csv", backtest.ReadWeather)
			if err != nil {
				return nil, err
			}
			r.weather = weather.Issues
		}
		regions = append(regions, r)
	}
	return regions, nil
}

func read[T any](path string, parse func(string, io.Reader) (T, error)) (T, error) {
	file, err := os.Open(path)
	if err != nil {
		var none T
		return none, err
	}
	defer file.Close()
	return parse(path, file)
}

// from returns the 15th day of the forecasts.
func (r region) from() time.Time { return r.documents[0].Issued.Add(14 * day) }

// setup returns the measurement that all figures share, with a change.
func (r region) setup(change func(*backtest.Setup)) (backtest.Setup, error) {
	s := backtest.Setup{
		Actuals: r.actuals, Documents: r.documents, From: r.from(), To: r.actuals.Series.End(),
		History: history, MaxAge: day, Weather: r.weather, WeatherDelay: weatherDelay,
	}
	change(&s)
	var err error
	s.Jobs, err = backtest.RegularJobs(s.From, s.To, arrivalSpacing, durations, slacks)
	return s, err
}

// replay runs policies and returns their scores, in the order of the policies.
func (r region) replay(ctx context.Context, change func(*backtest.Setup), policies ...backtest.Policy) ([]backtest.Scores, error) {
	s, err := r.setup(change)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.name, err)
	}
	result, err := s.Run(ctx, policies...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.name, err)
	}
	return result.Scores(r.actuals, false), nil
}

// forEach works on all regions, some at the same time, and returns the results in the order of the
// regions.
func forEach[T any](ctx context.Context, regions []region, work func(context.Context, region) (T, error)) ([]T, error) {
	results := make([]T, len(regions))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for i, r := range regions {
		group.Go(func() (err error) {
			results[i], err = work(ctx, r)
			return err
		})
	}
	return results, group.Wait()
}
