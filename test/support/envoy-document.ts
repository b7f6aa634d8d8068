import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'

export type EnvoyFileName =
  | 'envoy.yaml'
  | 'capture.yaml'
  | 'tcp-mtls.yaml'
  | 'tenants.yaml'
  | 'spire.yaml'
  | 'upstreams.yaml'
  | 'behind-load-balancer.yaml'
  | 'egress.yaml'
  | 'direct.yaml'

type Settings = Readonly<Record<string, unknown>>

/** One HTTP filter of a connection manager. */
export interface HttpFilter {
  readonly name: string
  readonly typed_config: Settings
}

interface Listener extends Settings {
  readonly filter_chains: readonly { readonly filters: readonly { readonly typed_config: Settings }[] }[]
}

/** A file of envoy/ as text. */
export const envoyText = (file: EnvoyFileName): string =>
  readFileSync(fileURLToPath(new URL(`../../envoy/${file}`, import.meta.url)), 'utf8')

/** A file of envoy/, its only listener, and the HTTP connection manager of that. */
export function readEnvoyFile(file: EnvoyFileName): { text: string; listener: Listener; manager: Settings } {
  const text = envoyText(file)
  const { static_resources } = parse(text) as { static_resources: { listeners: Listener[] } }
  const [listener, ...others] = static_resources.listeners
  const manager = listener?.filter_chains[0]?.filters[0]?.typed_config
  if (!listener || !manager || others.length > 0)
    throw new Error(`envoy/${file} was expected to have one listener with one HTTP filter chain`)
  return { text, listener, manager }
}

/** In their order. */
export const httpFilters = (manager: Settings): readonly HttpFilter[] => manager['http_filters'] as HttpFilter[]
