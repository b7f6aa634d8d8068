import type { Endpoint } from './relayed.ts'

/** The URL of an endpoint, always by the issuer's own name, never by what a request says of it. */
export const endpointUrl = (issuer: string, endpoint: Endpoint): string => `${issuer.replace(/\/$/, '')}/${endpoint}`
