package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math"
	"path/filepath"
	"regexp"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/test/env"
	"github.com/gridlatch/gridlatch/test/gridserver"
)

const (
	// exportZones is how many zones the exporter asks for: as many as a policy can have.
	exportZones = 64
	// exportPast is how much of the past it has in the end, but for a day.
	exportPast = 55 * 24 * time.Hour
	// exportPatience is for the past of all zones, as fast as the provider's limit allows.
	exportPatience = 6 * time.Minute
	exportPolicy   = "everywhere"
	exportKey      = "load"
)

// zoneName is the name of a zone, and of its location.
func zoneName(i int) string { return fmt.Sprintf("Z%02d", i) }

// measureExport runs the exporter that ships with 64 zones of Electricity Maps, from nothing to eight weeks of the past.
// It then lets time pass quickly: see exportedDays.
func measureExport(ctx context.Context) (values []float64, err error) {
	r, err := newRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.cluster.Install(ctx, r.port); err != nil {
		return nil, err
	}
	if err := v1alpha1.AddToScheme(r.cluster.Client.Scheme()); err != nil {
		return nil, fmt.Errorf("build scheme: %w", err)
	}
	now := newStoppableClock()
	server, err := gridserver.Start(gridserver.Behaviour{Intensity: everyZone, Keys: []string{exportKey}}, now.Now)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if err := r.askForEveryZone(ctx, server); err != nil {
		return nil, err
	}
	memory, err := r.exporterMemory(ctx)
	if err != nil {
		return nil, err
	}
	perMinute := mostPerMinute(server.Requests())
	days, err := r.exportedDays(ctx, server, now)
	return append(memory, perMinute, days.requestsPerHour, days.writesPerHour), err
}

// everyZone is a plausible day of every zone.
func everyZone(zone string, at time.Time) (float64, bool) {
	level, phase := 0.0, 2*math.Pi*float64(at.UTC().Hour())/24
	for _, c := range zone {
		level += float64(c)
	}
	return level + 200 + 80*math.Cos(phase) + 20*math.Sin(float64(at.Unix()/3600)*0.7+level), true
}

// askForEveryZone makes the policy and the Secret.
func (r *rig) askForEveryZone(ctx context.Context, server *gridserver.Server) error {
	policy := v1alpha1.Default()
	policy.Name = exportPolicy
	policy.Spec.Forecast.Provider = &v1alpha1.ForecastProvider{
		Type: "ElectricityMaps", BaseURL: server.ElectricityMaps(), SecretRef: &v1alpha1.SecretReference{Name: "electricity-maps"},
	}
	for i := range exportZones {
		policy.Spec.Locations = append(policy.Spec.Locations, v1alpha1.Location{Name: zoneName(i)})
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.Namespace, Name: "electricity-maps"}, StringData: map[string]string{"key": exportKey},
	}
	for _, object := range []client.Object{secret, policy} {
		if err := r.cluster.Client.Create(ctx, object); err != nil {
			return fmt.Errorf("create %T: %w", object, err)
		}
	}
	return nil
}

// exporterMemory returns the resident memory of the exporter in MiB when it has settled, and the most there ever was.
func (r *rig) exporterMemory(ctx context.Context) (values []float64, err error) {
	limit, err := r.shippedMemoryLimit(ctx)
	if err != nil {
		return nil, err
	}
	exporter, err := r.cluster.RunExporter(ctx, filepath.Join(r.dir, "export.log"), limit)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, exporter.Stop()) }()
	log.Printf("waiting for eight weeks of the past of %d zones", exportZones)
	if err := poll(ctx, exportPatience, r.knowsWholePast); err != nil {
		return nil, err
	}
	now, err := settledMemory(ctx, exporter)
	if err != nil {
		return nil, err
	}
	peak, err := exporter.Memory("VmHWM")
	return []float64{now, peak}, err
}

// shippedMemoryLimit returns the variable by which the shipped Deployment tells Go how much memory it may take.
func (r *rig) shippedMemoryLimit(ctx context.Context) (string, error) {
	manifests, err := r.cluster.Kustomize(ctx, "resources: [MANIFESTS/base]\n")
	if err != nil {
		return "", err
	}
	found := regexp.MustCompile(`name: GOMEMLIMIT\s+value: (\w+)`).FindStringSubmatch(manifests)
	if found == nil {
		return "", errors.New("no GOMEMLIMIT in the manifests")
	}
	return "GOMEMLIMIT=" + found[1], nil
}

// knowsWholePast returns an error until the ConfigMap has eight weeks of the past of all zones.
func (r *rig) knowsWholePast(ctx context.Context) error {
	var found corev1.ConfigMap
	if err := r.cluster.Client.Get(ctx, exportedName(), &found); err != nil {
		return fmt.Errorf("get the forecast: %w", err)
	}
	document, err := forecast.FromConfigMap(found.BinaryData, found.Data, "data", time.Now())
	if err != nil {
		return fmt.Errorf("read the forecast: %w", err)
	}
	for i := range exportZones {
		known := document.Actuals[zoneName(i)]
		if document.Series[zoneName(i)].IsEmpty() || known.IsEmpty() || known.End().Sub(known.Start()) < exportPast {
			return fmt.Errorf("%s is known from %s to %s; message %q", zoneName(i), known.Start(), known.End(), document.Message)
		}
	}
	return nil
}

func exportedName() client.ObjectKey {
	return client.ObjectKey{Namespace: env.Namespace, Name: v1alpha1.ForecastConfigMap(exportPolicy)}
}

// mostPerMinute is how many requests came within a minute at most.
func mostPerMinute(requests []gridserver.Request) float64 {
	most, first := 0, 0
	for i, request := range requests {
		for request.At.Sub(requests[first].At) >= time.Minute {
			first++
		}
		most = max(most, i-first+1)
	}
	return float64(most)
}
