import { routeAgreement } from '../e2e/differential-property.ts'
import { properties } from './properties.ts'
import type { Property } from './property.ts'

/** Those of `npm run fuzz`: the differential check has a test of its own in `npm test`, among those that have an Envoy. */
export const longProperties: readonly Property[] = [...properties, routeAgreement() as unknown as Property]
