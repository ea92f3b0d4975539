package exporter

import (
	"strings"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/forecast"
)

// source says whom to ask, and how. Policies with the same source share what is asked.
type source struct {
	kind                     provider.Type
	baseURL                  string
	secret                   string
	signal                   forecast.Signal
	forecastURL, pastURL     string
	keyHeader, attributionOf string
}

// sourceOf returns the source that a policy names.
func sourceOf(p *v1alpha1.ForecastProvider) source {
	s := source{kind: provider.Type(p.Type), baseURL: p.BaseURL}
	if p.SecretRef != nil {
		s.secret = p.SecretRef.Name
	}
	if p.Signal != nil {
		s.signal = forecast.Signal{Kind: forecast.Kind(p.Signal.Kind), EmissionFactors: forecast.EmissionFactors(p.Signal.EmissionFactors)}
	}
	if p.HTTP != nil {
		s.forecastURL, s.pastURL = p.HTTP.ForecastURL, p.HTTP.PastURL
		s.keyHeader, s.attributionOf = p.HTTP.KeyHeader, p.HTTP.Attribution
	}
	return s
}

// config returns how to make the provider.
func (s source) config(key provider.Credentials, options provider.Options) provider.Config {
	return provider.Config{
		Type: s.kind, BaseURL: s.baseURL, Credentials: key, Signal: s.signal,
		ForecastURL: s.forecastURL, PastURL: s.pastURL, KeyHeader: s.keyHeader, Attribution: s.attributionOf, Options: options,
	}
}

// needsZone reports whether the source cannot be asked without the name of a zone.
func (s source) needsZone() bool {
	switch s.kind {
	case provider.TypeMock:
		return false
	case provider.TypeHTTP:
		return strings.Contains(s.forecastURL+s.pastURL, "{zone}")
	}
	return true
}

// place is a location of a policy.
type place struct {
	location string
	zone     string // as the provider names it
}

// target is a ConfigMap that the exporter writes.
type target struct {
	// policy is the name of the policy; "" if the zone is that of the nodes' region.
	policy string
	source source
	places []place
	// advice says what somebody has to do before there can be a forecast; "" if nothing.
	advice string
}

// configMap returns the name of the ConfigMap.
func (t target) configMap() string { return v1alpha1.ForecastConfigMap(t.policy) }
