package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// key is an API key: it goes with every call, over TLS only.
type key string

func (k key) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(k)}, nil
}

func (key) RequireTransportSecurity() bool { return true }

// connect gives a connection to the server that the environment names.
func connect() (*grpc.ClientConn, error) {
	server := os.Getenv("CARAVAN_SERVER")
	if server == "" {
		server = "http://127.0.0.1:4081"
	}
	address, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	apiKey := os.Getenv("CARAVAN_API_KEY")
	if address.Scheme != "https" {
		if apiKey != "" {
			return nil, errors.New("CARAVAN_API_KEY is sent over https only: set CARAVAN_SERVER to an https URL")
		}
		return grpc.NewClient(address.Host, grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := os.Getenv("CARAVAN_TLS_CA"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("CARAVAN_TLS_CA holds no certificate")
		}
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(config))}
	if apiKey != "" {
		options = append(options, grpc.WithPerRPCCredentials(key(apiKey)))
	}
	return grpc.NewClient(address.Host, options...)
}
