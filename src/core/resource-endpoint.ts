import type { Labels } from './ownership.ts'
import { perObject } from './per-object.ts'
import type { OwnershipRules } from './policy.ts'

type EndpointRules = NonNullable<OwnershipRules['endpoint']>

/** Where a resource is reached, as `x-envoy-original-dst-host` takes it, or why it is not. */
export type Endpoint = { readonly address: string } | { readonly fault: string }

const missing: Endpoint = { fault: 'the resource has no endpoint' }
const malformed: Endpoint = { fault: 'the endpoint of the resource is no ip:port' }
const outside: Endpoint = { fault: 'the endpoint of the resource is outside the networks that the policy allows' }

/** `10.1.2.3:8080` or `[fd00::1]:8080`: an address and no name, so that nobody else says where it leads. */
function readEndpoint({ label, allows }: EndpointRules, labels: Labels): Endpoint {
  const text = labels.get(label)
  if (text === undefined || text === '') return missing
  const [, v6, v4, port] = /^(?:\[([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)\]|([0-9.]+)):([1-9][0-9]{0,4})$/.exec(text) ?? []
  const address = v6 ?? v4
  if (address === undefined || Number(port) > 65_535) return malformed
  // What is no address at all is in no network.
  return allows(address) ? { address: text } : outside
}

const endpointsBy = perObject((rules: EndpointRules) => perObject((labels: Labels): Endpoint => readEndpoint(rules, labels)))

/** Where a resource is reached; read once, as long as its labels are kept. @param labels undefined where it is unknown */
export const endpointOf = ({ endpoint }: OwnershipRules, labels: Labels | undefined): Endpoint =>
  endpoint === undefined || labels === undefined ? missing : endpointsBy(endpoint)(labels)
