package main

import (
	"context"
	"math"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/test/env"
	"github.com/gridlatch/gridlatch/test/gridserver"
)

const (
	// providerKey is what the stand-in for the provider wants, and what the Secret has.
	providerKey = "made-up"
	keySecret   = "apiVersion: v1\nkind: Secret\nmetadata: {namespace: " + env.Namespace + ", name: electricity-maps}\nstringData: {key: " + providerKey + "}\n"
)

// askProvider is the way of a forecast: a policy names a provider, the exporter asks it with the key in a Secret and
// writes a ConfigMap, and the controller reads that.
func (d *demo) askProvider(ctx context.Context) error {
	d.step("Ask a provider for a forecast of the grid's carbon intensity")
	start := time.Now().Truncate(time.Second)
	d.known = d.series(start)
	server, err := gridserver.Start(gridserver.Behaviour{
		Intensity: intensityOf(d.known), Boundaries: d.boundaries(start), Keys: []string{providerKey},
	}, time.Now)
	if err != nil {
		return err
	}
	d.ends = append(d.ends, server.Close)
	policy := d.policy(server.ElectricityMaps())
	d.say("A server on this machine stands in for Electricity Maps. The policy names the provider:")
	d.gap()
	d.show("  ", policy)
	d.gap()
	if _, err := d.cluster.KubectlInput(ctx, keySecret+"---\n"+policy, "apply", "-f", "-"); err != nil {
		return err
	}
	exporter, err := d.cluster.RunExporter(ctx, exporterLog)
	if err != nil {
		return err
	}
	d.ends = append(d.ends, exporter.Stop)
	for _, line := range d.about {
		d.say("%s", line)
	}
	err = d.awaitPolicy(ctx, func(p *v1alpha1.CarbonPolicy) bool {
		if len(p.Status.Locations) != 1 {
			return false
		}
		l := p.Status.Locations[0]
		return l.Name == d.location && l.ForecastUntil != nil && l.ForecastIssued != nil && !l.ForecastIssued.Time.Before(start.Add(-time.Hour)) &&
			l.LearnedDays == v1alpha1.DaysToLearn
	})
	if err != nil {
		return err
	}
	d.say("gridlatch export (process %d) has asked the server, and has written what it says:", exporter.PID)
	d.say("the forecast, and eight weeks of the past from which Gridlatch has learned at once.")
	if err := d.kubectl(ctx, "get", "configmap", v1alpha1.ForecastConfigMap(v1alpha1.DefaultPolicy), "-n", env.Namespace); err != nil {
		return err
	}
	return d.kubectl(ctx, "get", "carbonpolicies")
}

// intensityOf is a forecast, with its mean before and after.
func intensityOf(known *forecast.Series) gridserver.Intensity {
	mean, _ := known.Mean(known.Start(), known.End())
	return func(_ string, at time.Time) (float64, bool) {
		value, ok := known.At(at)
		switch {
		case at.Before(known.Start()), !at.Before(known.End()):
			return mean, true
		case !ok:
			return math.NaN(), true
		}
		return value, true
	}
}

// boundaries are where the slots of a forecast begin that starts at start, and where a gap does.
func (s scenario) boundaries(start time.Time) []time.Time {
	var all []time.Time
	for i, given := range s.slots {
		all = append(all, start.Add(given.from))
		if i+1 < len(s.slots) && s.slots[i+1].from > given.to {
			all = append(all, start.Add(given.to))
		}
	}
	return all
}
