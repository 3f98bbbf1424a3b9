package service_test

const crashVariable = "SERVICE_DOOMED"

func runDoomed(string) {}
