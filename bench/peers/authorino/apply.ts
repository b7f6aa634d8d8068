/**
 * Puts objects into a Kubernetes API, started inside its network namespace: `node apply.ts URL FILE`, the token in $TOKEN. The
 * file holds the CustomResourceDefinition in YAML and the AuthConfigs, as { definition, configs }. Ends when the API has taken all;
 * with `--ready` as third argument, when Authorino says of each that it is in force.
 */
import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import { until } from '../../../test/support/until.ts'

const [url = '', file = '', mode] = process.argv.slice(2)
const { definition, configs } = JSON.parse(readFileSync(file, 'utf8')) as { definition: string; configs: readonly object[] }
const definitions = `${url}/apis/apiextensions.k8s.io/v1/customresourcedefinitions`
const authConfigs = `${url}/apis/authorino.kuadrant.io/v1beta3/namespaces/default/authconfigs`
const limit = 120_000

interface Listed {
  readonly items: readonly { readonly status?: { readonly summary?: { readonly ready?: boolean } } }[]
}

const authorization = `Bearer ${process.env['TOKEN'] ?? ''}`

async function reached(path: string): Promise<boolean> {
  try {
    return (await fetch(path, { headers: { authorization } })).ok
  } catch (error) {
    // Nobody listens yet. Anything else, a certificate of another name say, does not go away.
    if (error instanceof TypeError && error.cause instanceof Error && 'code' in error.cause && error.cause.code === 'ECONNREFUSED')
      return false
    throw error
  }
}

async function post(path: string, object: unknown): Promise<void> {
  const response = await fetch(path, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/json' },
    body: JSON.stringify(object),
  })
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${(await response.text()).slice(0, 2000)}`)
}

if (mode === '--ready') {
  const allReady = async () => {
    const { items } = (await (await fetch(authConfigs, { headers: { authorization } })).json()) as Listed
    return items.length === configs.length && items.every(({ status }) => status?.summary?.ready === true)
  }
  await until('every AuthConfig to be in force', allReady, limit)
} else {
  await until('the Kubernetes API', () => reached(`${url}/readyz`), limit)
  await post(definitions, parse(definition))
  await until('the AuthConfig resource', () => reached(authConfigs), limit)
  for (const config of configs) await post(authConfigs, config)
}
