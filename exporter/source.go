package exporter

import (
	"cmp"
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
	// weather has whom to ask, by what for.
	weather [weatherRoles]weatherSource
	second  secondSource
}

// weatherSource says whom to ask for the weather, or for what the operator of the grid expects of wind and
// sun; the zero weatherSource is nobody.
type weatherSource struct {
	kind                provider.WeatherType
	baseURL, secret     string
	url                 string
	acceptNonCommercial bool
}

// weatherSourceOf returns the source of weather that a policy names.
func weatherSourceOf(w *v1alpha1.WeatherSource) weatherSource {
	if w == nil {
		return weatherSource{}
	}
	s := weatherSource{kind: provider.WeatherType(w.Type), baseURL: w.BaseURL, url: w.URL, acceptNonCommercial: w.AcceptNonCommercial}
	if w.SecretRef != nil {
		s.secret = w.SecretRef.Name
	}
	return s
}

// renewablesSourceOf returns the source of the forecasts of wind and sun that a policy names.
func renewablesSourceOf(r *v1alpha1.RenewablesSource) weatherSource {
	if r == nil {
		return weatherSource{}
	}
	return weatherSource{kind: provider.WeatherType(cmp.Or(r.Type, string(anyOperator))), baseURL: r.BaseURL}
}

// config returns how to make the source of weather.
func (s weatherSource) config(key provider.Secret, options provider.Options) provider.WeatherConfig {
	return provider.WeatherConfig{Type: s.kind, BaseURL: s.baseURL, Key: key, AcceptNonCommercial: s.acceptNonCommercial, URL: s.url, Options: options}
}

// sourceOf returns the source that a policy names.
func sourceOf(f *v1alpha1.ForecastSource) source {
	p := f.Provider
	s := source{kind: provider.Type(p.Type), baseURL: p.BaseURL, second: secondSourceOf(f.Actuals)}
	s.weather = [...]weatherSource{weatherSourceOf(f.Weather), renewablesSourceOf(f.Renewables)}
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
	// points are where the weather counts, as the policy says: latitude and longitude, separated by a
	// comma, and points by a semicolon. The text is empty if the policy says nothing.
	points string
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
